"""Whole runs are given up where the configuration says so; otherwise nothing is refused before its deadline."""

import pytest

from agentsched.core.call import FailureKind
from agentsched.core.rules import AdmissionRules, Rules
from agentsched.errors import ConfigError
from tests.scheduler.bench import Bench, FixedLengths


def bench_with(**fields: float) -> Bench:
    return Bench("a", rules=Rules(admission=AdmissionRules(**fields)), lengths=FixedLengths(500))


def begin(bench: Bench, run_id: str, deadline_s: float) -> None:
    bench.run(run_id, deadline_at=bench.now + deadline_s)


def test_nothing_is_refused_unless_asked_for():
    bench = bench_with()
    begin(bench, "r", 0.5)
    assert bench.call(0.5, run_id="r").failed is None


def test_a_run_without_a_chance_is_not_begun_with_any_of_its_calls():
    bench = bench_with(floor=0.05)
    begin(bench, "r", 1.0)
    calls = [bench.call(1.0, run_id="r") for _ in range(3)]
    assert [seen.failed.failure.kind for seen in calls] == [FailureKind.SHED] * 3
    assert [seen.starts for seen in calls] == [[], [], []]
    assert [seen.ended.status for seen in calls] == ["shed"] * 3
    told = "it would meet its deadline with a probability of 0; refused, as admission.floor is 0.05"
    assert calls[0].failed.failure.detail == told


def test_a_run_with_a_chance_is_and_the_floor_is_for_its_first_call_alone():
    bench = bench_with(floor=0.05)
    begin(bench, "r", 60.0)
    first = bench.call(60.0, run_id="r")
    bench.finish(first)
    bench.advance(59.0)
    late = bench.call(1.0, run_id="r")
    assert late.failed is None
    assert len(late.starts) == 1


def test_a_begun_run_is_given_up_where_that_is_asked_for():
    bench = bench_with(give_up=0.05)
    begin(bench, "r", 60.0)
    bench.finish(bench.call(60.0, run_id="r"))
    bench.advance(59.0)
    failure = bench.call(1.0, run_id="r").failed.failure
    assert failure.kind is FailureKind.SHED
    assert failure.detail.endswith("as admission.give_up is 0.05")
    begin(bench, "other", 60.0)
    assert bench.call(60.0, run_id="other").failed is None


def test_who_has_no_deadline_is_admitted():
    bench = bench_with(floor=1.0, give_up=1.0)
    bench.run("r")
    assert bench.call(run_id="r").failed is None


@pytest.mark.parametrize("wrong", [-0.1, 1.1, True, "high"])
def test_a_floor_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"admission.floor: out of range"):
        AdmissionRules(floor=wrong)
