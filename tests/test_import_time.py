"""Importing agentsched costs next to nothing and loads nothing but the standard library."""

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


def loaded_by(statement: str) -> tuple[float, set[str]]:
    """Seconds that a statement takes in a new interpreter, and the top-level packages it loads."""
    program = (
        "import sys, time\n"
        "before = set(sys.modules)\n"
        "start = time.perf_counter()\n"
        f"{statement}\n"
        "seconds = time.perf_counter() - start\n"
        "import json\n"
        "print(json.dumps([seconds, sorted({name.partition('.')[0] for name in set(sys.modules) - before})]))\n"
    )
    out = subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True, timeout=60).stdout
    seconds, names = json.loads(out)
    return seconds, set(names)


def test_the_import_takes_less_than_300_ms() -> None:
    # The fastest of a few: what other processes do on the machine is not what is measured.
    assert min(loaded_by("import agentsched")[0] for _ in range(3)) < 0.3


def test_the_import_loads_only_the_standard_library() -> None:
    _, loaded = loaded_by("import agentsched")
    assert loaded - sys.stdlib_module_names == {"agentsched"}


def test_decorating_loads_no_sdk_no_framework_and_no_http_client() -> None:
    _, loaded = loaded_by("import agentsched as ags\n@ags.workflow('20s')\ndef answer(): ...")
    assert loaded.isdisjoint({*HEAVY, "httpx", "httpx2", "aiohttp", "tenacity", "pydantic", "yaml"})


def test_a_run_loads_no_sdk_and_no_framework() -> None:
    _, loaded = loaded_by("import agentsched as ags\n@ags.workflow('20s')\ndef answer(): ...\nanswer()")
    assert loaded.isdisjoint(HEAVY)
