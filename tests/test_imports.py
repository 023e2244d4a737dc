"""Importing agentsched loads nothing but the standard library; ``agentsched bench adapters`` tells its time."""

import json
import subprocess
import sys
from pathlib import Path

import agentsched

ROOT = Path(agentsched.__file__).parent.parent
HEAVY = (
    "torch",
    "ray",
    "redis",
    "openai",
    "langchain_core",
    "langgraph",
    "crewai",
    "autogen_core",
    "litellm",
    "matplotlib",
)


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a statement loads in a new interpreter."""
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        f"{statement}\n"
        "import json\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))\n"
    )
    out = subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True, timeout=60).stdout
    return set(json.loads(out))


def test_the_import_loads_only_the_standard_library() -> None:
    loaded = loaded_by("import agentsched")
    assert loaded - sys.stdlib_module_names == {"agentsched"}


def test_a_platform_without_forks_and_file_locks_will_do() -> None:
    program = (
        "import os, sys\n"
        "del os.fork, os.register_at_fork\n"
        "sys.modules |= dict.fromkeys(('fcntl', 'resource', 'pwd', 'grp', 'termios'))\n"
        "import agentsched as ags\n"
        "import agentsched.cli.main, agentsched.intercept.patch, agentsched.state.stores\n"
        "endpoint = {'name': 'a', 'base_url': 'http://127.0.0.1:9/v1', 'model': 'm'}\n"
        "ags.configure({'version': 1, 'endpoints': [endpoint]})\n"
        "@ags.workflow('20s')\n"
        "def answer(): return ags.current().remaining()\n"
        "assert 0 < answer() <= 20\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)


def test_decorating_loads_no_sdk_no_framework_and_no_http_client() -> None:
    loaded = loaded_by("import agentsched as ags\n@ags.workflow('20s')\ndef answer(): ...")
    assert loaded.isdisjoint({*HEAVY, "httpx", "httpx2", "aiohttp", "tenacity", "pydantic", "yaml"})


def test_a_run_loads_no_sdk_and_no_framework() -> None:
    loaded = loaded_by("import agentsched as ags\n@ags.workflow('20s')\ndef answer(): ...\nanswer()")
    assert loaded.isdisjoint(HEAVY)
