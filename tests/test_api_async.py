"""Coroutines are cancelled at their deadline, and every other cancellation stays what it is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import agentsched as ags

Clock = Any  # tests/conftest.py: VirtualClock
Surroundings = Any  # tests/conftest.py
ModelCall = Callable[..., str]  # tests/conftest.py: model_call


@pytest.fixture(autouse=True)
def nothing_is_loaded(surroundings: Surroundings) -> None:
    """Every test here runs without a scheduler."""


def running() -> ags.Run:
    run = ags.current()
    assert run is not None
    return run


class TestAsync:
    async def test_a_coroutine_is_cancelled_at_its_deadline(self, surroundings: Surroundings) -> None:
        cleaned_up = []

        @ags.workflow(slo=0.03, name="answer")
        async def answer() -> None:
            with ags.step("plan"):
                try:
                    await asyncio.sleep(30)
                finally:
                    cleaned_up.append(ags.current())

        with pytest.raises(ags.DeadlineExceeded) as caught:
            await answer()
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        assert caught.value.step == "plan"
        assert caught.value.elapsed_s == pytest.approx(0.03, abs=0.5)
        assert cleaned_up == [surroundings.listener.started[0]]
        assert surroundings.outcomes == [("answer", "deadline")]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    async def test_the_users_own_cancellation_stays_one(self, surroundings: Surroundings) -> None:
        task = asyncio.create_task(ags.workflow("20s", name="answer")(asyncio.sleep)(30))
        await asyncio.sleep(0)
        task.cancel("mine")
        with pytest.raises(asyncio.CancelledError, match="mine"):
            await task
        assert surroundings.outcomes == [("answer", "cancelled")]

    async def test_the_users_own_timeout_stays_one(self, surroundings: Surroundings) -> None:
        @ags.workflow("20s")
        async def answer() -> None:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(30)

        with pytest.raises(TimeoutError) as caught:
            await answer()
        assert not isinstance(caught.value, ags.DeadlineExceeded)
        assert surroundings.outcomes == [("answer", "error")]

    async def test_a_timeout_of_the_user_around_a_run_stays_one(self, surroundings: Surroundings) -> None:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.01):
                await ags.workflow("20s", name="answer")(asyncio.sleep)(30)
        assert not isinstance(caught.value, ags.DeadlineExceeded)
        assert surroundings.outcomes == [("answer", "cancelled")]

    async def test_a_task_group_inside_is_cancelled_whole(self, surroundings: Surroundings) -> None:
        ended = []

        async def branch(n: int) -> None:
            try:
                await asyncio.sleep(30)
            finally:
                ended.append((n, ags.current()))

        @ags.workflow(0.2)  # time for both branches to begin, on a busy machine too
        async def answer() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(branch(0))
                group.create_task(branch(1))

        with pytest.raises(ags.DeadlineExceeded):
            await answer()
        assert dict(ended) == dict.fromkeys((0, 1), surroundings.listener.started[0])

    async def test_what_a_framework_makes_of_the_cancellation_is_translated(self) -> None:
        @ags.workflow(0.02)
        async def answer() -> None:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                raise RuntimeError("cancelled") from None

        with pytest.raises(ags.DeadlineExceeded):
            await answer()

    async def test_a_coroutine_that_swallows_the_cancellation_returns_late(self, surroundings: Surroundings) -> None:
        @ags.workflow(0.02)
        async def answer() -> str:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                return "partial"
            return "whole"

        assert await answer() == "partial"
        assert surroundings.outcomes == [("answer", "late")]
        await asyncio.sleep(0)  # and is not cancelled later on

    async def test_a_deadline_that_is_ignored_cancels_nothing(self, surroundings: Surroundings) -> None:
        @ags.workflow(ags.SLO(0.01, on_late="ignore"))
        async def answer() -> str:
            await asyncio.sleep(0.03)
            return "answer"

        assert await answer() == "answer"
        assert surroundings.outcomes == [("answer", "late")]

    async def test_runs_at_the_same_time_do_not_see_each_other(self) -> None:
        @ags.workflow
        async def answer(n: int) -> bool:
            ags.step(f"step {n}")
            run = ags.current()
            await asyncio.sleep(0.001 * (n % 3))
            return ags.current() is run is not None and run.step == f"step {n}"

        assert all(await asyncio.gather(*(answer(n) for n in range(50))))
        assert ags.current() is None

    def test_a_run_under_another_event_loop_is_bounded_at_its_model_calls(
        self, clock: Clock, model_call: ModelCall
    ) -> None:
        @ags.workflow("2s")
        async def answer() -> str:
            clock.advance(3.0)
            return model_call()

        with pytest.raises(ags.DeadlineExceeded):
            answer().send(None)
