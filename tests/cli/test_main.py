"""The table of commands, and what holds for all of them."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import click
import pytest
from click.testing import Result

from agentsched.cli.main import COMMANDS
from agentsched.errors import ConfigError, EndpointsUnavailable

Run = Callable[..., Result]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_has_json(name: str) -> None:
    command = import_module(COMMANDS[name][0]).command
    assert isinstance(command, click.Command)
    assert command.name == name
    leaves = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    for leaf in leaves:
        assert any("--json" in parameter.opts for parameter in leaf.params), f"{leaf.name} has no --json"


def test_help_lists_the_table_and_loads_no_command() -> None:
    script = """
import sys
from click.testing import CliRunner
from agentsched.cli.main import COMMANDS, main
result = CliRunner().invoke(main, ["--help"])
assert result.exit_code == 0, result.output
for name, (module, about) in COMMANDS.items():
    assert name in result.output and about.split()[0] in result.output, name
    assert module not in sys.modules, module
heavy = {"numpy", "pydantic", "yaml", "rich", "aiohttp", "openai", "langgraph", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_version(run: Run) -> None:
    result = run("--version")
    assert (result.exit_code, result.output.split()[0]) == (0, "agentsched")


def test_the_package_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "agentsched", "--help"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("Usage: agentsched ")


def test_an_unknown_command_is_a_usage_error(run: Run) -> None:
    result = run("chekc")
    assert result.exit_code == 2
    assert "No such command 'chekc'" in result.stderr


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    def install(error: BaseException) -> None:
        @click.command("failing")
        def command() -> None:
            raise error

        module = ModuleType("agentsched_test_failing")
        module.command = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(COMMANDS, "failing", (module.__name__, "Fail."))

    return install


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigError("not good", field="x", file="pool.yaml", line=3), 2, "agentsched: pool.yaml:3: x: not good\n"),
        (EndpointsUnavailable("nobody there"), 1, "agentsched: nobody there\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_how_commands_end(
    run: Run, failing: Callable[[BaseException], None], error: BaseException, status: int, said: str
) -> None:
    failing(error)
    result = run("failing")
    assert (result.exit_code, result.stderr, result.stdout) == (status, said, "")


@pytest.fixture
def default_sigterm() -> Iterator[None]:
    """No handler of another library, which would have been loaded by another test, goes before ours."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("default_sigterm")
def test_a_terminated_command_cleans_up(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @click.command("long")
    def command() -> None:
        with TemporaryDirectory(dir=tmp_path):
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("went on")

    module = ModuleType("agentsched_test_long")
    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, "long", (module.__name__, "Take long."))
    assert run("long").exit_code == 143
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_missing_package_is_named_with_the_extra_that_brings_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError("No module named 'langgraph'", name="langgraph.graph")

    monkeypatch.setattr("agentsched.cli.main.import_module", missing)
    result = run("demo")
    assert result.exit_code == 1
    assert "needs langgraph.graph, which is not installed; try: pip install 'agentsched[demo]'" in result.stderr


def test_a_missing_module_of_ours_is_a_bug_and_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "ghost", ("agentsched.cli.ghost", "Not there."))
    with pytest.raises(ModuleNotFoundError, match=r"agentsched\.cli\.ghost"):
        run("ghost")
