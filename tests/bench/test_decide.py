"""The bench of decisions: that it measures what it says, not how fast this machine is."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from agentsched.bench.decide import Options, _Bench, _wait, measure
from agentsched.bench.decide_report import decide_bars, decide_document, decide_sheets
from agentsched.cli.main import main
from agentsched.policy.deadline_aware import DeadlineAware
from agentsched.policy.least_outstanding import SpeedWeightedLeastOutstanding
from agentsched.policy.litellm import LiteLLMLatency


@pytest.fixture(scope="module")
def result():
    policies = (("weighted_least_outstanding", SpeedWeightedLeastOutstanding),)
    return measure(Options(endpoints=(2, 5), policies=policies, decisions=100, in_flight=3))


def test_every_size_is_measured_with_its_calls_in_flight(result):
    assert [(cost.endpoints, cost.in_flight) for cost in result.costs] == [(2, 6), (5, 15)]
    for cost in result.costs:
        for spread in (cost.choice, cost.decision, cost.answer, cost.progress, cost.second_thought, cost.tick):
            assert 0.0 <= spread.p50_s <= spread.p99_s
        assert cost.decision.p50_s > cost.choice.p50_s > 0.0
        assert cost.decision.p50_s > cost.progress.p50_s > 0.0


def test_it_is_told_in_tables_and_as_json(result):
    costs, waits = decide_sheets(result)
    assert len(costs.rows) == len(waits.rows) == 2
    assert all(len(row) == len(costs.columns) for row in costs.rows)
    assert all(len(row) == len(waits.columns) for row in waits.rows)
    document = json.loads(json.dumps(decide_document(result), allow_nan=False))
    assert document["options"]["policies"] == ["weighted_least_outstanding"]
    assert {bar.verdict for bar in decide_bars(result)} == {"not measured"}


def test_forecasts_hold_so_that_the_policy_itself_is_measured():
    bench = _Bench(Options(endpoints=(5,), policies=(), decisions=200, in_flight=4), 5, DeadlineAware())
    bench.cost("deadline_aware")
    assert not bench._scheduler.ledger.table.coverage.lost


def test_a_policy_that_remembers_is_shown_what_happens_when_it_is_timed():
    policy = LiteLLMLatency()
    cost = _Bench(Options(endpoints=(4,), policies=(), decisions=50, in_flight=2), 4, policy).cost("litellm_latency")
    assert cost.choice.p50_s > 0.0
    assert policy._seen


def test_waits_follow_the_queue():
    rng, steady = np.random.default_rng(0), np.full(20_000, 100e-6)
    idle, busy = (_wait(rate, steady, steady, rng) for rate in (10.0, 9_000.0))
    assert idle.p50_s == pytest.approx(100e-6)
    # M/D/1: the mean time in the system is S + load S / (2 (1 - load)), 550 us at .9; its 99th percentile is far above
    assert idle.load == pytest.approx(0.001)
    assert 200e-6 < busy.p50_s < 600e-6 < busy.p99_s < 5e-3
    late = _wait(10_001.0, steady, steady, rng)
    assert (late.p50_s, late.p99_s) == (None, None)


def test_the_command_takes_policies_and_sizes():
    arguments = ["bench", "decide", "--endpoints", "3", "--decisions", "100", "--rates", "50", "--json"]
    run = CliRunner().invoke(main, [*arguments, "--policies", "weighted_least_outstanding"], catch_exceptions=False)
    assert run.exit_code == 0, run.output
    (cost,) = json.loads(run.stdout)["costs"]
    assert (cost["endpoints"], cost["waits"][0]["rate"]) == (3, 50.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--endpoints", "many"], "'many' is no list of numbers"), (["--rates", "0"], "'0' has numbers outside 1 to")],
)
def test_mistakes_are_named(arguments, said):
    run = CliRunner().invoke(main, ["bench", "decide", *arguments])
    assert run.exit_code == 2
    assert said in " ".join(run.output.replace("│", " ").split())
