import asyncio
import contextlib

import pytest

from agentsched.workflow.cutoff import Cutoff


class Watched:
    """A task under a cutoff, and what the cutoff said of its end."""

    def __init__(self, delay_s: float | None) -> None:
        self.fired = 0
        self.mine: bool | None = None
        self._delay_s = delay_s

    def _fire(self) -> None:
        self.fired += 1

    async def run(self, body: "asyncio.Future[None] | asyncio.Event") -> str:
        cutoff = Cutoff(self._delay_s, self._fire)
        try:
            await (body.wait() if isinstance(body, asyncio.Event) else body)
        except BaseException as error:
            self.mine = cutoff.disarm(error)
            raise
        self.mine = cutoff.disarm(None)
        return "done"


async def test_it_cancels_the_task_at_the_instant_and_knows_it_did() -> None:
    watched = Watched(0.01)
    with pytest.raises(asyncio.CancelledError):
        await watched.run(asyncio.Event())
    assert (watched.fired, watched.mine) == (1, True)
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def test_a_time_already_spent_cancels_at_the_first_chance() -> None:
    watched = Watched(-1.0)
    with pytest.raises(asyncio.CancelledError):
        await watched.run(asyncio.Event())
    assert watched.mine


async def test_without_a_limit_it_never_fires() -> None:
    watched = Watched(None)
    event = asyncio.Event()
    event.set()
    assert await watched.run(event) == "done"
    assert (watched.fired, watched.mine) == (0, False)


async def test_disarmed_it_does_not_fire_any_more() -> None:
    watched = Watched(0.01)
    event = asyncio.Event()
    event.set()
    assert await watched.run(event) == "done"
    await asyncio.sleep(0.03)
    assert watched.fired == 0


async def test_somebody_elses_cancellation_is_not_its_own() -> None:
    watched = Watched(10.0)
    task = asyncio.create_task(watched.run(asyncio.Event()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (watched.fired, watched.mine) == (0, False)


async def test_when_both_cancel_the_other_one_wins() -> None:
    watched = Watched(0.0)
    task = asyncio.create_task(watched.run(asyncio.Event()))
    await asyncio.sleep(0)  # the task has begun, and its cutoff is due in this same turn of the loop
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (watched.fired, watched.mine) == (1, False)


async def test_a_task_that_swallows_its_cancellation_returns() -> None:
    fired: list[int] = []

    async def stubborn() -> tuple[bool, int]:
        cutoff = Cutoff(0.01, lambda: fired.append(1))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        mine = cutoff.disarm(None)
        task = asyncio.current_task()
        assert task is not None
        return mine, task.cancelling()

    assert await asyncio.create_task(stubborn()) == (False, 0)
    assert fired == [1]


def test_without_a_running_loop_it_does_nothing() -> None:
    assert Cutoff(0.0, lambda: None).disarm(None) is False
