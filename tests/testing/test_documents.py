"""What the pages say is so: their examples run, their configurations load, their lists are whole."""

import ast
import json
import re
from inspect import signature
from pathlib import Path

import click
import jsonschema
import pytest
import yaml

import agentsched
from agentsched.cli.main import main
from agentsched.emulator.config import load_config
from agentsched.policy.table import POLICIES
from agentsched.settings import load_settings, settings_schema
from agentsched.settings.document import Loader
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.scenario_files import load_scenario, shipped_scenarios
from agentsched.sim.traces.drawing import trace_recording
from agentsched.telemetry.schema import log_schema

ROOT = Path(__file__).parents[2]
NAMES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
POLICY_PAGE = "docs/policies-baselines.md"


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page(name), re.DOTALL | re.MULTILINE)


def test_the_examples_of_policies_run(capsys: pytest.CaptureFixture[str]):
    found = blocks(POLICY_PAGE, "python")
    assert len(found) == 3
    names: dict[str, object] = {"__name__": "page"}
    for block in found:
        exec(compile(block, POLICY_PAGE, "exec"), names)
    assert 0.0 <= float(capsys.readouterr().out) <= 1.0


@pytest.mark.parametrize("name", [name for name in NAMES if blocks(name, "python")])
def test_what_examples_import_is_there(name: str):
    for block in blocks(name, "python"):
        tree = ast.parse(block)
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        exec(compile(tree, name, "exec"), {})
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "agentsched":
                assert hasattr(agentsched, node.attr), f"agentsched.{node.attr}"


def test_the_first_example_runs():
    class Graph:
        def invoke(self, state: dict[str, str]) -> tuple[str, str | None, float | None]:
            run = agentsched.current()
            assert run is not None
            return state["question"], run.workflow, run.slo.deadline_s

    names: dict[str, object] = {"graph": Graph()}
    _before, after = blocks("README.md", "python")
    exec(compile(after, "README.md", "exec"), names)
    assert names["answer"]("why?") == ("why?", "answer", 20.0)


ENDPOINT = {"version": 1, "endpoints": [{"name": "a", "base_url": "http://h/v1", "model": "m"}]}


@pytest.mark.parametrize(
    "name", ["README.md", "docs/configuration.md", "docs/policies.md", "docs/decision-log.md", "docs/many-clients.md"]
)
def test_configurations_load(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOSTED_KEY", "k")
    monkeypatch.setenv("REDIS_URL", "redis://h")
    found = blocks(name, "yaml")
    assert found
    for block in found:
        parts = block.splitlines() if block.count("\nstate:") else [block]  # one way or the other, a line each
        for part in parts:
            data = {**ENDPOINT, **yaml.load(part, Loader=Loader)}
            jsonschema.validate(data, settings_schema())
            load_settings(data)


def test_a_pool_of_emulators_and_a_scenario_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (emulators,) = blocks("docs/emulator.md", "yaml")
    (scenario,) = blocks("docs/simulator.md", "yaml")
    (tmp_path / "emulators.yaml").write_text(emulators, encoding="utf-8")
    assert [one.name for one in load_config(tmp_path / "emulators.yaml").endpoints] == ["fast", "api"]
    assert load_scenario(yaml.load(scenario, Loader=Loader)).name == "mine"


def test_a_trace_can_be_written_as_shown(tmp_path: Path):
    (trace,) = blocks("docs/decision-log.md", "json")
    for line in trace.splitlines():
        jsonschema.validate(json.loads(line), log_schema())
    (tmp_path / "trace.jsonl").write_text(trace, encoding="utf-8")
    assert len(trace_recording(str(tmp_path / "trace.jsonl")).runs) == 1


def test_every_policy_is_told_of():
    told = set(re.findall(r"^\| `(\w+)` \|", page(POLICY_PAGE), re.MULTILINE))
    assert told | {"deadline_aware"} == set(POLICIES)


def test_the_table_of_rivals_tells_their_options():
    table = page(POLICY_PAGE).partition("## The rules of others")[2].partition("\n\nAll of them")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == len(POLICIES) - 1
    for name, _rule, _origin, options in rows:
        known = signature(POLICIES[name.strip(" `")]).parameters
        assert set(re.findall(r"`(\w+)`", options)) == set(known), name


def test_the_simulator_s_page_tells_of_every_scenario_and_knowledge():
    text = page("docs/simulator.md")
    shown = {name for name in shipped_scenarios() if f"`{name}`" in text} | {"s1", "s2", "s3", "s4"}
    assert shown == set(shipped_scenarios())
    assert [kind for kind in Knowledge if f"| `{kind}` |" not in text] == []


@pytest.mark.parametrize(("path", "name"), [("sim run", "docs/simulator.md"), ("replay", "docs/replay.md")])
def test_every_option_of_these_commands_is_in_their_table(path: str, name: str):
    command: click.Command = main
    for part in path.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), part)
        assert found is not None
        command = found
    table = "".join(line for line in page(name).splitlines() if line.startswith("| `--"))
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert [
        one.opts for one in options if not any(f"`{way}" in table for way in (*one.opts, *one.secondary_opts))
    ] == []
