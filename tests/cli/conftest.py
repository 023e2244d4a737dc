"""Running commands as a user does."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agentsched.cli.main import main

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``agentsched ARGUMENTS`` in an empty folder; an unexpected exception fails the test."""
    monkeypatch.chdir(tmp_path)
    for name in ("AGENTSCHED_CONFIG", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*arguments: str) -> Result:
        result = CliRunner(catch_exceptions=False).invoke(main, list(arguments))
        assert "canary" not in result.output
        return result

    return invoke


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections, and that nobody else can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
