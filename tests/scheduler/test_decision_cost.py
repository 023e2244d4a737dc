"""What a decision costs: bounds far above the measured figures, so that only a different order of cost fails them.

Measured on two shared cores: an arrival and an answer together take about 75 us with 16 endpoints, 80 us with 64.
"""

import time
from itertools import count

import pytest

from agentsched.core.call import ModelCall, RunInfo, Usage
from agentsched.core.endpoint import Pool, Profile
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.policy.shortest_completion import ShortestExpectedCompletion
from agentsched.scheduler.actions import Start
from agentsched.scheduler.events import AttemptFinished, CallArrived, RunStarted
from agentsched.scheduler.scheduler import Scheduler
from tests.scheduler.bench import endpoint

CALLS = 300


def cost_s(endpoints: int, **fields: object) -> float:
    """CPU seconds of one arrival and its answer: the best of several rounds."""
    pool = Pool([endpoint(f"e{k}", profile=Profile(tpot_s=0.02 + 0.001 * k), **fields) for k in range(endpoints)])
    scheduler = Scheduler(pool, ShortestExpectedCompletion(), EmpiricalLengths(), EmpiricalRemainders())
    scheduler.handle(RunStarted(RunInfo("r", "w", 0.0)), now=0.0)
    ids, rounds = count(), []
    for _ in range(6):
        began = time.process_time()
        for k in (next(ids) for _ in range(CALLS)):
            call = ModelCall(f"c{k}", "r", "w", "s", k, "m", input_tokens=500, deadline_at=k + 20.0, prefix=7)
            actions = scheduler.handle(CallArrived(call), now=float(k))
            (start,) = (action for action in actions if isinstance(action, Start))
            scheduler.handle(AttemptFinished(start.attempt_id, Usage(500, 80)), now=k + 0.5)
        rounds.append(time.process_time() - began)
    return min(rounds) / CALLS


@pytest.mark.parametrize("fields", [{}, {"max_concurrency": 100}], ids=["open", "slots"])
def test_a_decision_takes_microseconds(fields):
    assert cost_s(16, **fields) < 400e-6


def test_it_hardly_grows_with_the_pool():
    assert cost_s(64) < 2.5 * cost_s(16)
