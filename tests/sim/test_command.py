"""``agentsched sim`` as a user runs it."""

import csv
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from agentsched.cli.main import main
from agentsched.sim.scenario_files import shipped_scenarios
from tests.sim.conftest import SMALL


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump({**SMALL, "duration": 5.0}), encoding="utf-8")

    def invoke(*arguments: str) -> Result:
        return CliRunner(catch_exceptions=False).invoke(main, ["sim", *arguments])

    return invoke


QUICK = ("--jobs", "1", "--seeds", "1-2", "--policy", "weighted_least_outstanding")


def test_list(run):
    listed = json.loads(run("list", "--json").stdout)
    assert [one["name"] for one in listed["scenarios"]] == list(shipped_scenarios())
    assert "weighted_least_outstanding" in listed["policies"]
    for name in shipped_scenarios():
        assert name in run("list").stdout


def test_json_is_complete_and_repeats(run):
    arguments = (
        "run",
        "small.yaml",
        *QUICK,
        "--policy",
        "shortest_expected_completion:toll=0.5",
        "--load",
        "2,4",
        "--json",
    )
    result = run(*arguments)
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert [(case["policy"], case["load"]) for case in document["cases"]] == [
        (policy, load)
        for load in (2.0, 4.0)
        for policy in ("weighted_least_outstanding", "shortest_expected_completion:toll=0.5")
    ]
    assert all(case["seeds"] == [1, 2] for case in document["cases"])
    assert len({one["digest"] for one in document["runs"]}) == 8
    assert json.loads(run(*arguments).stdout)["runs"] == document["runs"]


def test_tables_for_people(run):
    text = run("run", "small.yaml", *QUICK, "--policy", "shortest_expected_completion", "--clients", "2").stdout
    assert "gain: on weighted_least_outstanding" in text
    for word in ("chain", "single", "met deadline", "P95/deadline"):
        assert word in text


def test_out_holds_results_runs_and_plots(run):
    assert run("run", "small.yaml", *QUICK, "--out", "o", "--duration", "4s", "--knowledge", "learned").exit_code == 0
    assert {path.name for path in Path("o").iterdir()} == {
        "results.json",
        "runs.csv",
        "goodput-small.png",
        "latency-small-2.png",
    }
    document = json.loads(Path("o/results.json").read_text(encoding="utf-8"))
    assert (document["knowledge"], document["duration_s"]) == ("learned", 4.0)
    with Path("o/runs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {"1", "2"}
    assert {row["workflow"] for row in rows} == {"chain", "single"}
    assert Path("o/goodput-small.png").read_bytes().startswith(b"\x89PNG")


def test_names_are_shown_as_they_are(run):
    workflows = [{**SMALL["workflows"][0], "name": "w [/z] :smile:"}]
    Path("small.yaml").write_text(yaml.safe_dump({**SMALL, "name": "s [/x] [red]", "workflows": workflows}), "utf-8")
    shown = run("run", "small.yaml", *QUICK, "--duration", "4s").stdout
    assert "s [/x] [red], 2 seeds" in shown
    assert "w [/z] :smile:" in shown


def test_pictures_take_whatever_a_scenario_and_its_workflows_are_called(run):
    workflows = [{**SMALL["workflows"][0], "name": "流程 $x_{$"}]
    named = {**SMALL, "name": "../a b/$5 c", "workflows": workflows}
    Path("small.yaml").write_text(yaml.safe_dump(named), encoding="utf-8")
    assert run("run", "small.yaml", *QUICK, "--out", "o", "--duration", "4s").exit_code == 0
    assert {path.name for path in Path("o").glob("*.png")} == {"goodput-..-a-b-5-c.png", "latency-..-a-b-5-c-2.png"}


def test_only_first_choices_count(run):
    down = {"duration": 2.0, "every": 5.0}
    content = {**SMALL, "faults": {"failure": down}, "call_retries": 0, "duration": 20.0}
    Path("failing.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    rescued, alone = (
        json.loads(run("run", "failing.yaml", *QUICK, "--json", *more).stdout) for more in ((), ("--no-rectify",))
    )
    assert (rescued["rectify"], alone["rectify"]) == (True, False)
    assert alone["cases"][0]["outcomes"]["error"] > rescued["cases"][0]["outcomes"].get("error", 0)


def test_without_deadlines_latency_is_all_there_is(run):
    content = {key: value for key, value in SMALL.items() if key != "deadlines"}
    Path("free.yaml").write_text(yaml.safe_dump({**content, "duration": 4.0}), encoding="utf-8")
    result = run("run", "free.yaml", *QUICK, "--json", "--out", "o")
    assert json.loads(result.stdout)["cases"][0]["lateness_p95"] is None


def test_where_results_cannot_be_written_nothing_is_simulated(run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agentsched.cli.sim.simulate_all", lambda tasks, jobs: pytest.fail("simulated in vain"))
    result = run("run", "small.yaml", *QUICK, "--out", "small.yaml/o")
    assert (result.exit_code, "--out: cannot be written" in result.stderr) == (2, True)


def test_gossip_may_be_heard_at_once(run):
    gossip = ("--clients", "2", "--share", "gossip", "--share-delay", "0")
    assert run("run", "small.yaml", *QUICK, *gossip, "--duration", "2s").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "no such scenario"),
        (("nothing.yaml",), "cannot be read"),
        (("small.yaml", "--policy", "best"), "unknown policy"),
        (("small.yaml", "--policy", "shortest_expected_completion:tol=1"), "unknown option"),
        (("small.yaml", "--policy", "shortest_expected_completion:toll"), "not an option"),
        (("small.yaml", "--load", "1,x"), "not a list of numbers"),
        (("small.yaml", "--load", "0"), "load: out of range"),
        (("small.yaml", "--load", "1e12"), "allowed: more than 0 and less than 1e9"),
        (("small.yaml", "--seeds", "a"), "not a list of seeds"),
        (("small.yaml", "--seeds", "3-2"), "names no seed"),
        (("small.yaml", "--duration", "soon"), "--duration"),
        (("small.yaml", "small.yaml", *QUICK), "asked for twice"),
    ],
)
def test_mistakes_are_told(run, arguments: tuple[str, ...], said: str):
    result = run("run", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_options_are_taken_as_results_show_them(run):
    shown = run("run", "small.yaml", *QUICK, "--policy", "just_enough:load_aware=True", "--json")
    assert {case["policy"] for case in json.loads(shown.stdout)["cases"]} >= {"just_enough:load_aware=True"}
