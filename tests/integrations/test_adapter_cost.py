"""No adapter imports its framework, none costs its import or a model call more than it may."""

import subprocess
import sys
import timeit
from importlib import import_module
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = {
    "agentsched_autogen": ("autogen_core", "autogen_agentchat"),
    "agentsched_crewai": ("crewai",),
    "agentsched_langgraph": ("langgraph", "langchain_core"),
}
EACH = pytest.mark.parametrize("adapter", ADAPTERS)


@EACH
def test_installing_imports_no_framework_and_takes_under_ten_milliseconds(adapter: str) -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(_ROOT)!r}, {str(_ROOT / 'integrations')!r}]\n"
        "import time, agentsched.runtime, agentsched.intercept\n"  # what a first run has loaded by then
        "before, began = list(sys.meta_path), time.process_time()\n"
        f"import {adapter}; undo = {adapter}.install()\n"
        "print(time.process_time() - began)\n"
        f"print(sorted(set({ADAPTERS[adapter]!r}) & set(sys.modules)))\n"
        "undo(); undo()\n"
        "print(sys.meta_path == before)\n"
    )
    seconds = []
    for _ in range(3):  # the first may have to compile
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
        assert done.returncode == 0, done.stderr
        took, loaded, undone = done.stdout.split("\n")[:3]
        assert (loaded, undone) == ("[]", "True")
        seconds.append(float(took))
        if seconds[-1] < 0.010:
            return
    pytest.fail(f"it took {seconds} seconds")


@EACH
def test_a_loaded_framework_is_adapted_in_under_ten_milliseconds(adapter: str) -> None:
    for module in ADAPTERS[adapter]:
        pytest.importorskip(module)
    install = import_module(adapter).install
    install()()
    assert min(timeit.repeat(lambda: install()(), number=1, repeat=5)) < 0.010


def test_naming_takes_less_than_fifty_microseconds_with_all_adapters_in() -> None:
    from agentsched.workflow.steps import current_step

    undos = [import_module(adapter).install() for adapter in ADAPTERS]
    assert min(timeit.repeat(lambda: current_step(None), number=1000, repeat=5)) / 1000 < 50e-6
    for undo in undos:
        undo()
