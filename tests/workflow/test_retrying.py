from typing import Any

import pytest
import tenacity

from agentsched.core.slo import SLO
from agentsched.errors import ConfigError
from agentsched.workflow.frame import Frame, enter_frame, leave_frame
from agentsched.workflow.retrying import stop_at_deadline, wait_within_deadline
from agentsched.workflow.scope import Run

Clock = Any  # tests/conftest.py: VirtualClock


def attempts(clock: Clock, *, stop: Any, wait: Any, cost_s: float = 1.0) -> tuple[int, list[float]]:
    """How many attempts a function that always fails gets, and the waits between them, on virtual time."""
    waits: list[float] = []
    made = 0

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    def failing() -> None:
        nonlocal made
        made += 1
        clock.advance(cost_s)
        raise ConnectionError

    with pytest.raises(tenacity.RetryError):
        tenacity.Retrying(stop=stop, wait=wait, sleep=sleep)(failing)
    return made, waits


def test_no_retry_outlives_the_run(clock: Clock) -> None:
    token = enter_frame(Frame(run=Run("answer", SLO("10s"))))
    made, waits = attempts(clock, stop=stop_at_deadline(), wait=tenacity.wait_fixed(2))
    leave_frame(token)
    assert (made, waits) == (4, [2, 2, 2])
    assert clock.now == 1010.0


def test_a_margin_is_kept_for_the_attempt_itself(clock: Clock) -> None:
    token = enter_frame(Frame(run=Run("answer", SLO("10s"))))
    made, _ = attempts(clock, stop=stop_at_deadline(margin="2s"), wait=tenacity.wait_fixed(2))
    leave_frame(token)
    assert made == 3


def test_a_wait_ends_with_the_run(clock: Clock) -> None:
    token = enter_frame(Frame(run=Run("answer", SLO("10s"))))
    made, waits = attempts(
        clock, stop=tenacity.stop_after_attempt(4), wait=wait_within_deadline(tenacity.wait_fixed(6))
    )
    leave_frame(token)
    assert (made, waits) == (4, [6, 2, 0])


@pytest.mark.parametrize("slo", [None, SLO()])
def test_without_a_deadline_they_change_nothing(clock: Clock, slo: SLO | None) -> None:
    token = enter_frame(Frame(run=slo and Run("answer", slo)))
    made, waits = attempts(
        clock,
        stop=stop_at_deadline() | tenacity.stop_after_attempt(3),
        wait=wait_within_deadline(tenacity.wait_fixed(600)),
    )
    leave_frame(token)
    assert (made, waits) == (3, [600, 600])


def test_a_margin_must_be_a_duration() -> None:
    with pytest.raises(ConfigError, match=r"stop_at_deadline\.margin"):
        stop_at_deadline(margin="soon")
