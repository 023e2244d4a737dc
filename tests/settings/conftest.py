"""A configuration file on disk, and a clean environment."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from agentsched.settings import CONFIG_VARIABLE, Settings, load_settings

Load = Callable[[str], Settings]


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (CONFIG_VARIABLE, "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a text as ``pool.yaml``; errors name the file without its folder."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str) -> Settings:
        Path("pool.yaml").write_text(dedent(text), encoding="utf-8")
        return load_settings("pool.yaml")

    return load_text
