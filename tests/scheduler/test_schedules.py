"""Whatever goes wrong, and when: every call ends exactly once, nothing is orphaned, no cap is exceeded."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.scheduler.recording import encode_line, first_difference
from agentsched.scheduler.scheduler import Scheduler
from tests.scheduler.schedules import Schedule


@pytest.mark.timeout(300)
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**9))
def test_three_hundred_schedules(seed):
    Schedule(seed).run()


@pytest.mark.fuzz
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("block", range(10))
def test_ten_thousand_schedules(block):
    for seed in range(1000 * block, 1000 * (block + 1)):
        try:
            Schedule(seed).run(calls=40)
        except BaseException as error:
            error.add_note(f"schedule {seed}")
            raise


@pytest.mark.parametrize("seed", range(20))
def test_a_recorded_schedule_replays_exactly(seed):
    schedule = Schedule(seed)
    schedule.run()
    bench = schedule.bench
    lines = [encode_line(event, now, actions) for event, now, actions in bench.history]
    policy = type(bench.scheduler._placer._policy)()
    fresh = Scheduler(bench.scheduler.pool, policy, EmpiricalLengths(), EmpiricalRemainders(), schedule.rules)
    assert first_difference(lines, fresh) is None
    assert all(json.dumps(json.loads(line), allow_nan=False) for line in lines), "no NaN, no infinity"
