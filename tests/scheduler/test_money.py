"""The cap on what a run may spend: counted as expected while calls run, as charged once they are over."""

import pytest

from agentsched.core.call import FailureKind
from agentsched.core.endpoint import Price, Profile
from agentsched.core.rules import RetryRules, Rules
from agentsched.scheduler.actions import Record
from tests.scheduler.bench import Bench, FixedLengths, endpoint

CENT = Price(input=0.0, output=100.0)
"""100 output tokens cost one cent."""


def bench_of(*names: str, **fields: object) -> Bench:
    made = (endpoint(name, price=CENT, **fields) for name in names)
    return Bench(*made, lengths=FixedLengths(100), rules=Rules(retry=RetryRules(backoff_s=0.1)))


def test_calls_are_refused_once_the_money_is_spent():
    bench = bench_of("a")
    bench.run(max_cost_usd=0.025)
    for _ in range(2):
        bench.finish(bench.call(10.0), 100)
    seen = bench.call(10.0)
    assert seen.places == []
    assert seen.failed.failure.kind is FailureKind.COST
    assert seen.failed.failure.detail == "0.005 of 0.025 USD are left"


def test_calls_in_flight_count_by_what_they_are_expected_to_cost():
    bench = bench_of("a")
    bench.run(max_cost_usd=0.025)
    first, second, third = bench.call(10.0), bench.call(10.0), bench.call(10.0)
    assert [len(seen.starts) for seen in (first, second, third)] == [1, 1, 0]
    bench.finish(first, 20)
    assert bench.call(10.0).starts, "it was cheaper than expected"


def test_an_expensive_endpoint_is_not_used_if_a_cheap_one_can_be_paid():
    bench = Bench(
        endpoint("good", price=CENT, profile=Profile(tpot_s=0.001)), endpoint("free"), lengths=FixedLengths(100)
    )
    bench.run(max_cost_usd=0.015)
    assert [bench.call(10.0).places[0] for _ in range(3)] == ["good", "free", "free"]


def test_a_run_s_money_is_spent_by_the_runs_inside_it_too():
    bench = bench_of("a")
    bench.run("outer", max_cost_usd=0.035)
    bench.run("middle", parent_run_id="outer")
    bench.run("inner", parent_run_id="middle", max_cost_usd=1.0)
    bench.finish(bench.call(10.0, run_id="inner"), 100)
    flowing = bench.call(10.0, run_id="middle")
    assert [len(bench.call(10.0, run_id=of).starts) for of in ("outer", "inner")] == [1, 0], "0.005 are left"
    bench.finish(flowing, 50)
    assert bench.call(10.0, run_id="inner").starts, "it was cheaper than expected"
    refused = bench.call(10.0, run_id="middle").failed
    assert refused.failure.detail == "0 of 0.035 USD are left"
    bench.run("alone")
    assert bench.call(10.0, run_id="alone").starts
    (closed,) = (one for one in bench.end_run("middle") if isinstance(one, Record))
    assert closed.record.cost_usd == pytest.approx(0.005), "what it spent itself"


def test_a_retry_is_paid_for_too():
    bench = bench_of("a", "b")
    bench.run(max_cost_usd=0.015)
    seen = bench.call(10.0, stream=False)
    bench.progress(seen, 90)
    bench.fail(seen, FailureKind.RESET)
    assert seen.places == ["a"]
    assert seen.failed.failure.kind is FailureKind.COST


def test_a_try_that_no_server_worked_on_costs_nothing():
    bench = bench_of("a", "b")
    bench.run(max_cost_usd=0.015)
    seen = bench.call(10.0)
    bench.fail(seen, FailureKind.CONNECT)
    assert seen.places == ["a", "b"]


def test_waiting_calls_are_checked_when_their_turn_comes():
    bench = bench_of("a", max_concurrency=1)
    bench.run(max_cost_usd=0.015)
    first, second = bench.call(10.0), bench.call(100.0)
    assert second.failed is not None, "the first one's expected cost is taken off"
    other = bench_of("a", max_concurrency=1)
    other.run("rich")
    blocker = other.call(100.0, run_id="rich")
    other.run("poor", max_cost_usd=0.015)
    waiting = [other.call(100.0, run_id="poor") for _ in range(2)]
    other.finish(blocker)
    other.finish(waiting[0], 100)
    assert waiting[0].ended.status == "ok"
    assert waiting[1].failed.failure.kind is FailureKind.COST
    assert first.places == ["a"]


def test_a_hedge_is_paid_for_too():
    poor, rich = bench_of("a", "b"), bench_of("a", "b")
    poor.run(max_cost_usd=0.015)
    rich.run(max_cost_usd=0.025)
    calls = poor.call(3.0, stream=True), rich.call(3.0, stream=True)
    for bench in (poor, rich):
        bench.advance(2.9)
    assert [len(seen.starts) for seen in calls] == [1, 2]


def test_other_runs_have_their_own_purse():
    bench = bench_of("a")
    bench.run("poor", max_cost_usd=0.005)
    bench.run("rich", max_cost_usd=1.0)
    assert bench.call(10.0, run_id="poor").failed is not None
    assert bench.call(10.0, run_id="rich").starts


def test_what_a_run_spent_is_told_at_its_end():
    bench = bench_of("a")
    bench.run()
    bench.finish(bench.call(10.0), 50)
    bench.finish(bench.call(10.0), 150)
    bench.end_run()
    (closed,) = bench.closed_runs
    assert closed.cost_usd == pytest.approx(0.02)
    assert (closed.calls, closed.attempts, closed.output_tokens) == (2, 2, 200)
