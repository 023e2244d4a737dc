"""The command that checks all: which failures are run a second time."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FAILS_ONCE = """
from pathlib import Path

def test_{number}():
    seen = Path(__file__).with_name("seen-{number}")
    first = not seen.exists()
    seen.touch()
    assert not first
"""


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, which believes that it checks an empty directory."""
    spec = importlib.util.spec_from_file_location("sessions", Path(__file__).with_name("__main__.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def test_a_test_that_passes_when_repeated_is_named(
    sessions: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test_it.py").write_text(FAILS_ONCE.format(number=1) + "\ndef test_other():\n    pass\n")
    sessions.pytest(sys.executable)
    assert capsys.readouterr().out.endswith("passed only when repeated:\n  test_it.py::test_1\n")


def test_a_test_that_fails_again_fails_the_session(sessions: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it():\n    raise AssertionError\n")
    with pytest.raises(subprocess.CalledProcessError):
        sessions.pytest(sys.executable)


def test_many_failures_are_not_repeated(sessions: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("".join(FAILS_ONCE.format(number=number) for number in range(4)))
    with pytest.raises(subprocess.CalledProcessError) as error:
        sessions.pytest(sys.executable)
    assert "--last-failed" not in error.value.cmd


def test_a_suite_that_cannot_be_collected_is_not_repeated(sessions: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(subprocess.CalledProcessError) as error:
        sessions.pytest(sys.executable)
    assert "--last-failed" not in error.value.cmd
