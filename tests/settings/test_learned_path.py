from pathlib import Path

import pytest

from agentsched.settings import load_settings
from agentsched.settings.learned_path import cache_folder, learned_path

POOL = 'version: 1\nendpoints: [{name: a, base_url: "http://127.0.0.1:9/v1", model: m}]\n'


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.delenv("AGENTSCHED_PROFILES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))

    def load(text=POOL, name="pool.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return load_settings(str(path))

    return load


def test_each_configuration_file_has_its_own(settings):
    one, other = learned_path(settings()), learned_path(settings(name="other.yaml"))
    assert one == learned_path(settings())
    assert one != other
    assert one.parent == cache_folder()


def test_the_configuration_says_which(settings, tmp_path, monkeypatch):
    assert learned_path(settings(POOL + "state: {profiles: here.sqlite}")) == tmp_path / "here.sqlite"
    assert learned_path(settings(POOL + "state: {profiles: off}")) is None
    monkeypatch.setenv("AGENTSCHED_PROFILES", "/else/where")
    assert learned_path(settings(POOL + "state: {profiles: here.sqlite}")) == tmp_path / "here.sqlite"


def test_the_environment_says_which(settings, monkeypatch):
    monkeypatch.setenv("AGENTSCHED_PROFILES", "off")
    assert learned_path(settings()) is None
    monkeypatch.setenv("AGENTSCHED_PROFILES", "/else/where")
    assert learned_path(settings()) == Path("/else/where")


def test_a_user_without_a_home_keeps_nothing(settings, monkeypatch):
    made = settings()

    def homeless(path: Path) -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "expanduser", homeless)
    assert learned_path(made) is None


def test_a_pool_made_in_code_keeps_nothing(settings):
    assert (
        learned_path(
            load_settings({"version": 1, "endpoints": [{"name": "a", "base_url": "http://x/v1", "model": "m"}]})
        )
        is None
    )
