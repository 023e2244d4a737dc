"""``agentsched sim tune``, ``ablate`` and ``frontier`` as a user runs them."""

import json
from inspect import signature
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from agentsched.cli.main import main
from agentsched.policy.studies import ABLATIONS, SWEEPS
from agentsched.policy.table import make_policy, policy_factory
from agentsched.sim import tuning
from agentsched.sim.frontier import swept, with_floor
from agentsched.sim.grid import PolicyChoice
from tests.sim.conftest import FAST, SMALL

TIERS = [
    {"name": "poor", "profile": FAST, "quality": 0.2, "price": {"input": 1, "output": 6}},
    {"name": "good", "profile": {**FAST, "step_base_s": 0.02}, "quality": 0.8, "price": {"input": 5, "output": 30}},
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    small = {**SMALL, "duration": 4.0, "endpoints": TIERS}
    Path("small.yaml").write_text(yaml.safe_dump(small), encoding="utf-8")

    def invoke(*arguments: str) -> Result:
        return CliRunner(catch_exceptions=False).invoke(main, ["sim", *arguments])

    return invoke


# -- tune ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "CONFIGURATIONS", 4)
    monkeypatch.setattr(tuning, "ROUNDS", ((1, 4), (2, 2)))


@pytest.mark.usefixtures("short_search")
def test_what_tune_found_is_used_by_run(run):
    arguments = ("tune", "fused", "--scenario", "small.yaml", "--jobs", "1", "--out", "tuned.yaml", "--json")
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    assert "tuning fused" in result.stderr
    document = json.loads(result.stdout)
    (found,) = document["policies"]
    held = yaml.safe_load(Path("tuned.yaml").read_text())["policies"]["fused"]
    assert held["options"] == found["options"]
    assert held["command"] == "agentsched sim tune fused --scenario small.yaml"
    assert found["attainment"] >= found["default"]
    compared = run(
        *("run", "small.yaml", "--policy", "fused", "--policy", "random", "--tuned-file", "tuned.yaml"),
        *("--seeds", "1", "--jobs", "1", "--json"),
    )
    assert [case["policy"] for case in json.loads(compared.stdout)["cases"]] == ["fused (tuned)", "random"]


@pytest.mark.usefixtures("short_search")
def test_tune_for_people(run):
    result = run("tune", "prefix_affinity:share=0.5", "--scenario", "small.yaml", "--duration", "3s", "--jobs", "1")
    assert result.exit_code == 0, result.stderr
    assert "prefix_affinity:share=0.5" in result.stdout
    assert "by default" in result.stdout


def test_the_shipped_settings_are_read(run):
    arguments = ("--policy", "fused", "--policy", "random", "--seeds", "1", "--jobs", "1", "--json")
    for told in (("run", "--tuned", "small.yaml"), ("run", "small.yaml", "--tuned")):
        cases = json.loads(run(*told, *arguments).stdout)["cases"]
        assert [case["policy"] for case in cases] == ["fused (tuned)", "random"]
    for label, held in tuning._policies(tuning.SHIPPED).items():
        name, _, _ = label.partition(":")
        make_policy(name, held["options"])


# -- ablate ----------------------------------------------------------------------------------------------------------


def test_ablate_switches_off_one_part_after_the_other(run):
    result = run("ablate", "small.yaml", "--policy", "tail_aware", "--seeds", "1-2", "--jobs", "1", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["policy"] == document["against"] == "tail_aware"
    assert list(document["lost"]) == [
        "independent sums",
        "one constant length, with its spread",
        "one constant length, as certain",
        "nothing known at first",
        "true lengths and remainders",
    ]
    by_policy = {case["policy"]: case for case in document["cases"]}
    for switch, row in document["lost"].items():
        assert row["small"]["mean"] == pytest.approx(-by_policy[switch]["gain"]["mean"])
        assert row["mean"]["mean"] == pytest.approx(row["small"]["mean"])
        assert row["small"]["count"] == 2


def test_ablate_for_people(run):
    result = run("ablate", "small.yaml", "--policy", "just_enough", "--load", "3", "--seeds", "1", "--jobs", "1")
    assert result.exit_code == 0, result.stderr
    assert "load-aware" in result.stdout
    assert "nothing (met deadline)" in result.stdout


@pytest.mark.parametrize(("name", "changed"), [(n, c) for n, parts in ABLATIONS.items() for c in parts.values()])
def test_every_switch_is_an_option_and_none_is_its_default(name, changed):
    make_policy(name, changed)
    usual = signature(policy_factory(name)).parameters
    assert changed
    assert all(usual[option].default != value for option, value in changed.items())


# -- frontier --------------------------------------------------------------------------------------------------------


def test_frontier_goes_from_cheap_to_good(run):
    result = run(
        *("frontier", "small.yaml", "--policy", "fused", "--policy", "random", "--seeds", "1", "--jobs", "1"),
        *("--out", "picture.png", "--json"),
    )
    assert result.exit_code == 0, result.stderr
    points = json.loads(result.stdout)["points"]
    assert len(points) == len(SWEEPS["fused"]) + 1
    cheap, *_, good, _ = points
    assert cheap["quality"]["mean"] == pytest.approx(0.2)
    assert good["quality"]["mean"] == pytest.approx(0.8)
    assert good["cost_usd"]["mean"] > 2 * cheap["cost_usd"]["mean"]
    assert cheap["on_frontier"]
    assert good["on_frontier"]
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_floor_under_the_quality_is_kept(run):
    arguments = ("frontier", "small.yaml", "--policy", "random", "--min-quality", "0.5", "--seeds", "1", "--jobs", "1")
    points = {point["scenario"]: point for point in json.loads(run(*arguments, "--json").stdout)["points"]}
    assert points["small, quality >= 0.5"]["quality"]["mean"] == pytest.approx(0.8)
    assert 0.2 < points["small"]["quality"]["mean"] < 0.8
    assert "frontier" in run(*arguments).stdout


def test_what_is_worse_in_all_is_not_on_the_frontier(run):
    dear = {
        "name": "dear",
        "profile": {**FAST, "step_base_s": 0.05},
        "quality": 0.2,
        "price": {"input": 9, "output": 9},
    }
    document = yaml.safe_load(Path("small.yaml").read_text())
    Path("small.yaml").write_text(yaml.safe_dump({**document, "endpoints": [TIERS[0], dear], "name": "dear"}))
    arguments = ("--policy", "litellm_shuffle:weights=poor=1", "--policy", "litellm_shuffle:weights=dear=1")
    result = run("frontier", "small.yaml", *arguments, "--seeds", "1", "--jobs", "1", "--json")
    assert [point["on_frontier"] for point in json.loads(result.stdout)["points"]] == [True, False]


def test_options_that_are_given_are_not_swept():
    assert swept(PolicyChoice("fused", (("cost", 1.0),))) == [PolicyChoice("fused", (("cost", 1.0),))]
    assert len(swept(PolicyChoice("fused"))) == len(SWEEPS["fused"])
    assert swept(PolicyChoice("random")) == [PolicyChoice("random")]


def test_a_floor_raises_what_calls_demand(small):
    demands = [{"min_quality": 0.1, "share": 1.0}, {"min_quality": 0.6, "share": 2.0}]
    raised = with_floor(small(demands=demands, endpoints=TIERS), 0.3)
    assert [(demand.min_quality, demand.share) for demand in raised.demands] == [(0.3, 1.0), (0.6, 2.0)]


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tune", "random"), "policy: has nothing to tune (given: 'random')"),
        (("tune", "fused", "--duration", "soon"), "--duration"),
        (("tune", "fused", "--out", "no/folder.yaml"), "--out: cannot be written"),
        (("tune", "fused", "--scenario", "none.yaml"), "none.yaml"),
        (("ablate", "--policy", "random"), "has no part that can be switched off"),
        (("ablate", "--seeds", "x"), "--seeds: not a list of seeds"),
        (("ablate", "--load", "1,2"), "--load: more than one"),
        (("frontier", "small.yaml", "--min-quality", "0.9"), "--min-quality: no endpoint is as good"),
        (("frontier", "small.yaml", "--min-quality", "high"), "--min-quality: not a list of numbers"),
        (("frontier", "small.yaml", "--load", "1,2"), "--load: more than one"),
        (("run", "small.yaml", "--tuned-file", "none.yaml"), "tuned: cannot be read"),
    ],
)
def test_mistakes_are_told(run, arguments: tuple[str, ...], said: str):
    result = run(*arguments)
    assert result.exit_code != 0
    assert said in " ".join(result.stderr.split())


def test_a_picture_that_cannot_be_written_is_told_of_before_the_work(tmp_path: Path) -> None:
    arguments = ["sim", "frontier", "large-512", "--jobs", "1", "--out", str(tmp_path / "none" / "frontier.png")]
    made = CliRunner().invoke(main, arguments)
    assert made.exit_code == 2
    assert "--out: cannot be written: No such file or directory" in made.output


# -- forecasts -------------------------------------------------------------------------------------------------------


def test_forecasts_tells_the_share_that_is_kept_and_the_gain_on_one_length(run):
    quick = ("forecasts", "small.yaml", "--seeds", "1,2", "--duration", "3s", "--load", "3", "--jobs", "1")
    document = json.loads(run(*quick, "--json").stdout)
    (found,) = document["scenarios"]
    assert found["scenario"] == "small"
    assert found["share"]["count"] == 2
    assert set(found["goodput"]) == {"learned", "true lengths", "one length, with its spread", "one length, as certain"}
    shown = run(*quick)
    assert shown.exit_code == 0
    assert "of true lengths" in shown.stdout


def test_forecasts_says_where_there_is_nothing_to_compare_with(run):
    Path("hopeless.yaml").write_text(
        yaml.safe_dump(
            {
                **yaml.safe_load(Path("small.yaml").read_text()),
                "name": "hopeless",
                "deadlines": {"multiples": [{"times": 0.01, "share": 1}], "plus": 0},
            }
        ),
        encoding="utf-8",
    )
    refused = run("forecasts", "hopeless.yaml", "--seeds", "1", "--duration", "3s", "--jobs", "1")
    assert refused.exit_code != 0
    assert "hopeless: no run met its deadline with true lengths" in refused.stderr
