"""``on_late="partial"``: the best result so far, for every kind of function."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import agentsched as ags

Clock = Any  # tests/conftest.py: VirtualClock
Surroundings = Any  # tests/conftest.py
ModelCall = Callable[..., str]  # tests/conftest.py: model_call

PARTIAL = ags.SLO("10s", on_late="partial")


@pytest.fixture(autouse=True)
def nothing_is_loaded(surroundings: Surroundings) -> None:
    """Every test here runs without a scheduler."""


def test_a_function_returns_the_newest_value_that_was_named(
    clock: Clock, surroundings: Surroundings, model_call: ModelCall
) -> None:
    @ags.workflow(PARTIAL)
    def answer() -> list[str]:
        found: list[str] = []
        for part in ("a", "b", "c", "d"):
            found.append(part + model_call(clock.advance(4.0)))
            ags.best_so_far(list(found))
        return found

    assert answer() == ["aanswer", "banswer"]
    assert surroundings.outcomes == [("answer", "deadline")]


def test_what_a_framework_makes_of_the_deadline_matters_not(clock: Clock, model_call: ModelCall) -> None:
    @ags.workflow(PARTIAL)
    def answer() -> str:
        ags.best_so_far("draft")
        clock.advance(11.0)
        try:
            return model_call()
        except TimeoutError as error:
            raise RuntimeError("wrapped") from error

    assert answer() == "draft"


def test_none_may_be_the_best(clock: Clock, model_call: ModelCall) -> None:
    @ags.workflow(PARTIAL)
    def answer() -> str | None:
        ags.best_so_far(None)
        return model_call(clock.advance(11.0))

    assert answer() is None


@pytest.mark.parametrize("on_late", ["partial", "raise", "wrap_up", "degrade"])
def test_it_raises_without_one_and_where_nobody_asked_for_parts(
    clock: Clock, model_call: ModelCall, on_late: Any
) -> None:
    @ags.workflow(ags.SLO("10s", on_late=on_late))
    def answer() -> str:
        if on_late != "partial":
            ags.best_so_far("draft")
        return model_call(clock.advance(11.0))

    with pytest.raises(ags.DeadlineExceeded):
        answer()


def test_other_errors_and_results_in_time_pass(clock: Clock, surroundings: Surroundings) -> None:
    @ags.workflow(PARTIAL)
    def answer(fails: bool) -> str:
        ags.best_so_far("draft")
        if fails:
            raise ZeroDivisionError
        return "whole"

    assert answer(False) == "whole"
    with pytest.raises(ZeroDivisionError):
        answer(True)
    assert surroundings.outcomes == [("answer", "ok"), ("answer", "error")]


async def test_a_coroutine_is_cut_and_returns_it(surroundings: Surroundings) -> None:
    @ags.workflow(ags.SLO("50ms", on_late="partial"))
    async def answer() -> str:
        ags.best_so_far("draft")
        await asyncio.sleep(30)
        return "whole"

    assert await answer() == "draft"
    assert surroundings.outcomes == [("answer", "deadline")]
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def test_a_cancellation_by_somebody_else_is_one(surroundings: Surroundings) -> None:
    started = asyncio.Event()

    @ags.workflow(PARTIAL)
    async def answer() -> str:
        ags.best_so_far("draft")
        started.set()
        await asyncio.sleep(30)
        return "whole"

    task = asyncio.create_task(answer())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert surroundings.outcomes == [("answer", "cancelled")]


def test_a_generator_ends_after_what_it_has_yielded(
    clock: Clock, surroundings: Surroundings, model_call: ModelCall
) -> None:
    @ags.workflow(PARTIAL)
    def answer() -> Iterator[str]:
        while True:
            yield model_call(clock.advance(4.0))

    assert list(answer()) == ["answer", "answer"]
    assert surroundings.outcomes == [("answer", "deadline")]


def test_a_generator_that_has_yielded_nothing_raises(clock: Clock, model_call: ModelCall) -> None:
    @ags.workflow(PARTIAL)
    def answer() -> Iterator[str]:
        yield model_call(clock.advance(11.0))

    with pytest.raises(ags.DeadlineExceeded):
        list(answer())


async def test_an_async_generator_ends_after_what_it_has_yielded(surroundings: Surroundings) -> None:
    @ags.workflow(ags.SLO("100ms", on_late="partial"))
    async def answer() -> AsyncIterator[int]:
        yield 1
        yield 2
        await asyncio.sleep(30)
        yield 3

    assert [item async for item in answer()] == [1, 2]
    assert surroundings.outcomes == [("answer", "deadline")]


def test_outside_a_run_nothing_is_kept() -> None:
    ags.best_so_far("nobody's")


def test_runs_inside_a_run_have_their_own(clock: Clock, model_call: ModelCall) -> None:
    @ags.workflow(PARTIAL)
    def inner() -> str:
        return model_call(clock.advance(20.0))

    @ags.workflow(ags.SLO("60s", on_late="partial"))
    def outer() -> str:
        ags.best_so_far("of the outer one")
        return inner()

    with pytest.raises(ags.DeadlineExceeded):
        outer()
