"""``with ags.deadline(...)`` and ``async with ags.deadline(...)``, inside a run and outside."""

import asyncio
import logging
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


class TestDeadlineBlock:
    def test_inside_a_run_it_is_a_tighter_bound(
        self, clock: Clock, surroundings: Surroundings, model_call: ModelCall
    ) -> None:
        @ags.workflow("20s")
        def answer() -> str:
            with ags.deadline("5s") as run:
                assert run is ags.current()
                assert running().remaining() == 5.0
            with pytest.raises(ags.DeadlineExceeded) as caught, ags.deadline("5s"):
                model_call(clock.advance(6.0))
            assert (caught.value.deadline_s, caught.value.elapsed_s) == (5.0, 6.0)
            assert running().remaining() == 14.0
            return model_call()

        assert answer() == "answer"
        assert surroundings.outcomes == [("answer", "ok")]

    def test_outside_it_is_a_run(self, clock: Clock, surroundings: Surroundings, model_call: ModelCall) -> None:
        with ags.deadline("5s") as run:
            assert run is ags.current()
            assert running().workflow == "deadline"
        with pytest.raises(ags.DeadlineExceeded), ags.deadline("5s"):
            model_call(clock.advance(6.0))
        assert surroundings.outcomes == [("deadline", "ok"), ("deadline", "deadline")]

    def test_what_a_framework_makes_of_its_end_is_translated(
        self, clock: Clock, caplog: pytest.LogCaptureFixture, model_call: ModelCall
    ) -> None:
        @ags.workflow("20s")
        def answer() -> None:
            with caplog.at_level(logging.INFO, "agentsched"), ags.deadline("5s"):
                clock.advance(6.0)
                try:
                    model_call()
                except TimeoutError as error:
                    raise RuntimeError("wrapped") from error

        with pytest.raises(ags.DeadlineExceeded) as caught:
            answer()
        assert (caught.value.deadline_s, caught.value.__context__, caught.value.__cause__) == (5.0, None, None)
        assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [RuntimeError]

    def test_the_users_own_errors_pass(self) -> None:
        with pytest.raises(ZeroDivisionError), ags.deadline("5s"), ags.deadline("4s"):
            raise ZeroDivisionError

    def test_a_wider_one_inside_a_run_changes_nothing(self, clock: Clock, model_call: ModelCall) -> None:
        @ags.workflow("20s")
        def answer() -> None:
            with ags.deadline("60s"):
                assert running().remaining() == 20.0
                clock.advance(21.0)
                model_call()

        with pytest.raises(ags.DeadlineExceeded) as caught:
            answer()
        assert caught.value.deadline_s == 20.0

    async def test_async_it_cancels_its_block_and_only_that(self, surroundings: Surroundings) -> None:
        @ags.workflow("20s")
        async def answer() -> str:
            with pytest.raises(ags.DeadlineExceeded) as caught:
                async with ags.deadline(0.02):
                    await asyncio.sleep(30)
            assert (caught.value.deadline_s, caught.value.__context__) == (0.02, None)
            await asyncio.sleep(0.03)
            return "answer"

        assert await answer() == "answer"
        with pytest.raises(ags.DeadlineExceeded):
            async with ags.deadline(0.02):
                await asyncio.sleep(30)
        assert surroundings.outcomes == [("answer", "ok"), ("deadline", "deadline")]

    async def test_async_in_a_synchronous_run_it_cancels_at_the_runs_end(self) -> None:
        async def main() -> None:
            async with ags.deadline("60s"):
                await asyncio.sleep(30)

        @ags.workflow(0.05)
        def answer() -> None:
            asyncio.run(main())

        with pytest.raises(ags.DeadlineExceeded) as caught:
            await asyncio.to_thread(answer)
        assert caught.value.deadline_s == pytest.approx(0.05)

    async def test_async_the_users_own_cancellation_stays_one(self) -> None:
        async def block() -> None:
            async with ags.deadline("20s"):
                await asyncio.sleep(30)

        task = asyncio.create_task(block())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def test_an_unusable_duration_is_named(self) -> None:
        with pytest.raises(ags.ConfigError, match="deadline: not a usable duration"):
            ags.deadline(-1)
