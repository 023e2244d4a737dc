"""What is measured of an arm: whose runs, and whether they were in time."""

from collections.abc import Callable
from pathlib import Path

from agentsched.sim.outcome import RunResult
from agentsched.sim.papers.experiment import Key, Lab, Measured, Window
from agentsched.sim.papers.hexgen import TEXT_TO_SQL
from agentsched.sim.papers.research import RESEARCH


def _run(**changes: object) -> RunResult:
    usual = dict(
        index=0, workflow="a", client=0, arrival_s=5.0, ended_s=9.0, deadline_s=3.0, ideal_s=1.0, outcome="late",
        calls=1, attempts=1, input_tokens=1, output_tokens=1, cost_usd=0.0,
    )  # fmt: skip
    return RunResult(**{**usual, **changes})  # type: ignore[arg-type]


def test_a_window_holds_the_runs_of_its_interval_and_workflow() -> None:
    assert Window("", 5.0, 6.0).holds(_run())
    assert not Window("", 0.0, 5.0).holds(_run())
    assert not Window("", 0.0, 9.0, "b").holds(_run())


def test_a_window_may_judge_by_a_time_of_its_own() -> None:
    assert not Window("", 0.0, 9.0).met(_run())
    assert Window("", 0.0, 9.0, within_s=4.0).met(_run())
    assert not Window("", 0.0, 9.0, within_s=3.9).met(_run())
    assert not Window("", 0.0, 9.0, within_s=4.0).met(_run(outcome="error"))


def test_traces_differ_by_seed_and_only_by_seed(tmp_path: Path) -> None:
    lab = Lab(tmp_path, (1, 2), 0.2)
    arm = RESEARCH[0].arms(lab)[0]
    first, second = (arm.of(seed).scenario.workload for seed in lab.seeds)
    assert first is not None
    assert second is not None
    texts = [Path(one.trace).read_text(encoding="utf-8") for one in (first, second)]
    assert texts[0] != texts[1]
    RESEARCH[0].arms(lab)
    assert Path(first.trace).read_text(encoding="utf-8") == texts[0]


def test_deep_research_ranks_plain_rules_as_published(made: Callable[..., dict[Key, Measured]]) -> None:
    feasible = next(paper for paper in RESEARCH if paper.name == "deep-research-feasible")
    wanted = ("random", "round_robin", "least_outstanding")
    found = made(feasible, lambda arm: arm.key[0] in wanted, 0.1)
    by_rule = {key[0]: one.p95_s.mean for key, one in found.items()}
    assert by_rule["least_outstanding"] < by_rule["round_robin"] < by_rule["random"]


def test_one_simulation_of_a_rule_that_sees_no_deadline_tells_of_every_scale(
    made: Callable[..., dict[Key, Measured]],
) -> None:
    mix = "A100 A100 A6000 L40S"
    found = made(TEXT_TO_SQL, lambda arm: arm.key == ("round_robin", "order of arrival", mix), 0.06)
    shares = [one.attainment.mean for one in found.values()]
    assert len(shares) == 6
    assert shares == sorted(shares)
    assert len({one.mean_s.mean for one in found.values()}) == 1
