"""``agentsched init``."""

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import Result

from agentsched.cli.pool import FIRST_PORT
from agentsched.settings import load_settings, settings_schema
from agentsched.settings.document import Loader

Run = Callable[..., Result]


def valid(path: Path) -> None:
    """The file's first line points at its schema, and it satisfies it."""
    text = path.read_text(encoding="utf-8")
    marker, _, name = text.splitlines()[0].partition("=")
    assert marker == "# yaml-language-server: $schema"
    schema = json.loads(path.with_name(name).read_text(encoding="utf-8"))
    assert schema == settings_schema()
    data = yaml.load(text, Loader=Loader)
    jsonschema.validate(data, schema)


def test_it_writes_a_file_that_loads(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("init")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "wrote pool.yaml and pool.schema.json" in result.stderr
    valid(Path("pool.yaml"))
    missing = run("check")
    assert missing.exit_code == 2
    assert "endpoints[0].api_key: the environment variable OPENAI_API_KEY is not set" in missing.stderr
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    settings = load_settings("pool.yaml")
    assert [endpoint.name for endpoint in settings.pool.endpoints] == ["openai"]
    assert run("check", "--strict").exit_code == 0


def test_what_is_commented_out_is_valid_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("init")
    path = Path("pool.yaml")
    lines = path.read_text(encoding="utf-8").splitlines()
    rules = (
        "# policy",
        "# retry",
        "# breaker",
        "# stream",
        "# hedge",
        "  # - ",
        "  #   ",
        "  # gpt",
        '  # "*"',
        "    # ",
    )
    live = [line.replace("# ", "", 1) if line.startswith(rules) and ":" in line else line for line in lines]
    assert live != lines
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    path.write_text("\n".join(live), encoding="utf-8")
    settings = load_settings(path)
    assert [endpoint.name for endpoint in settings.pool.endpoints] == ["openai", "gpu"]
    assert set(settings.pool.groups) == {"gpt-4.1-mini", "*"}
    assert settings.rules == load_settings(settings.pool).rules, "the rules shown are the defaults"
    valid(path)


def test_it_overwrites_nothing_unless_forced(run: Run) -> None:
    Path("pool.yaml").write_text("mine", encoding="utf-8")
    result = run("init")
    assert result.exit_code == 2
    assert "pool.yaml: is there already; allowed: --force" in result.stderr
    Path("folder").mkdir()
    result = run("init", "folder", "--force")
    assert (result.exit_code, "folder: cannot be written" in result.stderr) == (2, True)
    assert Path("pool.yaml").read_text(encoding="utf-8") == "mine"
    assert run("init", "--force").exit_code == 0
    assert Path("pool.yaml").read_text(encoding="utf-8") != "mine"


def test_the_embedded_pool(run: Run) -> None:
    result = run("init", "conf.yaml", "--embedded", "--json")
    assert json.loads(result.stdout) == {
        "path": "conf.yaml",
        "schema": "conf.schema.json",
        "warnings": [],
        "variables": [],
    }
    valid(Path("conf.yaml"))
    pool = load_settings("conf.yaml").pool
    assert [endpoint.base_url for endpoint in pool.endpoints] == [
        f"http://127.0.0.1:{FIRST_PORT + index}/v1" for index in range(4)
    ]
    assert len(pool.serving("any-model")) == 4
    assert run("check", "conf.yaml", "--strict").exit_code == 0


def test_from_litellm(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("config.yaml").write_text(
        """
model_list:
  - {model_name: gpt-4o, litellm_params: {model: openai/gpt-4o, api_key: sk-canary123456, weight: 2}}
  - {model_name: gpt-4o, litellm_params: {model: hosted_vllm/m, api_base: "http://localhost/v1", api_key: os.environ/K}}
""",
        encoding="utf-8",
    )
    result = run("init", "--from-litellm", "config.yaml", "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["variables"] == ["GPT_4O_API_KEY"]
    assert [warning.split(": ")[1] for warning in told["warnings"]] == ["model_list[0].litellm_params.weight"]
    assert "set GPT_4O_API_KEY" in result.stderr
    text = Path("pool.yaml").read_text(encoding="utf-8")
    assert "canary" not in text
    assert "# config.yaml: line 3: model_list[0].litellm_params.weight" in text
    valid(Path("pool.yaml"))
    monkeypatch.setenv("GPT_4O_API_KEY", "one")
    monkeypatch.setenv("K", "two")
    pool = load_settings("pool.yaml").pool
    assert [endpoint.api_key for endpoint in pool.endpoints] == ["one", "two"]
    assert pool.groups["gpt-4o"].endpoints == ("gpt-4o", "gpt-4o-2")


def test_wrong_usage(run: Run) -> None:
    assert run("init", "--embedded", "--from-litellm", "x").exit_code == 2
    result = run("init", "no/such/folder/pool.yaml")
    assert (result.exit_code, "there is no such folder" in result.stderr) == (2, True)
    result = run("init", "--from-litellm", "none.yaml")
    assert (result.exit_code, "none.yaml: cannot be read" in result.stderr) == (2, True)
    assert not Path("pool.yaml").exists()
