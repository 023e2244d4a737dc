"""A generator's run lives until it is exhausted or closed, and is in force only while its body runs."""

import asyncio
import contextvars
import gc
import inspect
import threading
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any

import pytest

import agentsched as ags

Clock = Any  # tests/conftest.py: VirtualClock
Surroundings = Any  # tests/conftest.py
ModelCall = Callable[..., str]  # tests/conftest.py: model_call


@pytest.fixture(autouse=True)
def nothing_is_loaded(surroundings: Surroundings) -> None:
    """Every test here runs without a scheduler."""


@ags.workflow("20s")
def answer(log: list[object] | None = None) -> Generator[ags.Run | None, str, str]:
    """Three items, each the run as the body sees it; then "answer"."""
    log = [] if log is None else log
    try:
        for number in range(3):
            ags.step(f"step {number}")
            log.append((yield ags.current()))
            run = ags.current()
            assert run is not None
            assert run.step == f"step {number}"
    except BaseException as error:
        log.append(type(error))
        raise
    finally:
        log.append(ags.current())
    return "answer"


def returned(log: list[object] | None = None) -> Generator[ags.Run | None, str, str]:
    """The same generator, but returned by a plain function."""
    return ags.workflow("20s", name="answer")(lambda: inspect.unwrap(answer)(log))()


both = pytest.mark.parametrize("make", [answer, returned], ids=["function", "returned"])


class TestGenerators:
    @both
    def test_the_body_is_inside_and_the_consumer_outside(self, surroundings: Surroundings, make: Any) -> None:
        inside = []
        for run in make():
            inside.append(run)
            assert ags.current() is None
            assert surroundings.outcomes == []
        assert inside == surroundings.listener.started * 3
        assert surroundings.outcomes == [("answer", "ok")]

    @both
    def test_what_is_sent_thrown_and_returned_passes(self, surroundings: Surroundings, make: Any) -> None:
        log: list[object] = []

        def consumer() -> Generator[ags.Run | None, str, str]:
            return (yield from make(log))

        body = consumer()
        (_, first, second) = next(body), body.send("one"), body.send("two")
        assert first is second is surroundings.listener.started[0]
        with pytest.raises(StopIteration) as stopped:
            body.send("three")
        assert stopped.value.value == "answer"
        assert log == ["one", "two", "three", first]

    @both
    def test_a_generator_that_is_closed_early_ends_its_run_as_cancelled(
        self, surroundings: Surroundings, make: Any
    ) -> None:
        log: list[object] = []
        body = make(log)
        next(body)
        body.close()
        (run,) = surroundings.listener.started
        assert log == [GeneratorExit, run]
        assert surroundings.outcomes == [("answer", "cancelled")]
        body.close()

    @both
    def test_so_does_one_that_is_dropped(self, surroundings: Surroundings, make: Any) -> None:
        body = make()
        next(body)
        del body
        gc.collect()
        assert surroundings.outcomes == [("answer", "cancelled")]

    @both
    def test_an_error_thrown_in_by_the_consumer_is_the_users(self, surroundings: Surroundings, make: Any) -> None:
        log: list[object] = []
        body = make(log)
        next(body)
        with pytest.raises(ZeroDivisionError):
            body.throw(ZeroDivisionError())
        assert log == [ZeroDivisionError, surroundings.listener.started[0]]
        assert surroundings.outcomes == [("answer", "error")]

    def test_a_body_may_handle_what_is_thrown_in(self, surroundings: Surroundings) -> None:
        @ags.workflow
        def stubborn() -> Iterator[str]:
            try:
                yield "first"
            except ZeroDivisionError:
                yield "second"

        body = stubborn()
        assert next(body) == "first"
        assert body.throw(ZeroDivisionError()) == "second"  # type: ignore[attr-defined]
        assert list(body) == []
        assert surroundings.outcomes == [("stubborn", "ok")]

    def test_an_error_while_closing_reaches_who_closes(self, surroundings: Surroundings) -> None:
        @ags.workflow
        def broken() -> Iterator[str]:
            try:
                yield "first"
            finally:
                raise ZeroDivisionError

        body = broken()
        next(body)
        with pytest.raises(ZeroDivisionError):
            body.close()  # type: ignore[attr-defined]
        assert surroundings.outcomes == [("broken", "error")]

    @both
    def test_it_may_be_handed_to_another_thread(self, surroundings: Surroundings, make: Any) -> None:
        log: list[object] = []
        body = make(log)
        found = [next(body)]

        def consume() -> None:
            found.append(next(body))
            found.append(ags.current())

        thread = threading.Thread(target=consume)
        thread.start()
        thread.join()
        body.close()
        (run,) = surroundings.listener.started
        assert found == [run, run, None]
        assert log == [None, GeneratorExit, run]

    def test_two_at_once_do_not_see_each_other(self, surroundings: Surroundings) -> None:
        pairs = list(zip(answer(), answer(), strict=True))
        first, second = surroundings.listener.started
        assert pairs == [(first, second)] * 3

    def test_a_run_begins_with_the_body_not_with_the_generator(self, surroundings: Surroundings) -> None:
        body = answer()
        assert surroundings.listener.started == []
        body.close()
        assert surroundings.listener.started == []

    def test_a_returned_generator_that_is_never_started_ends_its_run(self, surroundings: Surroundings) -> None:
        body = returned()
        assert [run.workflow for run in surroundings.listener.started] == ["answer"]
        assert body.__name__ == "answer"
        del body
        gc.collect()
        assert surroundings.outcomes == [("answer", "cancelled")]

    @both
    def test_it_stops_at_its_next_model_call_once_late(
        self, surroundings: Surroundings, clock: Clock, model_call: ModelCall, make: Any
    ) -> None:
        @ags.workflow("20s")
        def late() -> Iterator[str]:
            while True:
                try:
                    yield model_call()
                except TimeoutError as error:
                    raise RuntimeError from error

        body = late()
        assert next(body) == "answer"
        clock.advance(21.0)
        with pytest.raises(ags.DeadlineExceeded) as caught:
            next(body)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        assert surroundings.outcomes == [("late", "deadline")]
        assert list(body) == []

    def test_a_deadline_block_may_span_items(self, clock: Clock) -> None:
        @ags.workflow("20s")
        def body() -> Iterator[float | None]:
            run = ags.current()
            assert run is not None
            with ags.deadline("5s"):
                yield run.remaining()
                clock.advance(1.0)
                yield run.remaining()
            yield run.remaining()

        items = body()
        with ags.deadline("3s"):
            assert next(items) == 3.0
        with ags.deadline("1s"):
            assert next(items) == 2.0
        assert next(items) == 2.0


@ags.workflow("20s", name="answer")
async def async_answer(log: list[object] | None = None) -> AsyncIterator[ags.Run | None]:
    log = [] if log is None else log
    try:
        for number in range(3):
            ags.step(f"step {number}")
            await asyncio.sleep(0)
            log.append((yield ags.current()))
            run = ags.current()
            assert run is not None
            assert run.step == f"step {number}"
    except BaseException as error:
        log.append(type(error))
        raise
    finally:
        await asyncio.sleep(0)
        log.append(ags.current())


def async_returned(log: list[object] | None = None) -> AsyncIterator[ags.Run | None]:
    return ags.workflow("20s", name="answer")(lambda: inspect.unwrap(async_answer)(log))()


async_both = pytest.mark.parametrize("make", [async_answer, async_returned], ids=["function", "returned"])


class TestAsyncGenerators:
    @async_both
    async def test_the_body_is_inside_and_the_consumer_outside(self, surroundings: Surroundings, make: Any) -> None:
        inside = []
        async for run in make():
            inside.append(run)
            assert ags.current() is None
            await asyncio.sleep(0)
        assert inside == surroundings.listener.started * 3
        assert surroundings.outcomes == [("answer", "ok")]

    @async_both
    async def test_what_is_sent_and_thrown_passes(self, surroundings: Surroundings, make: Any) -> None:
        log: list[object] = []
        body = make(log)
        await body.asend(None)
        await body.asend("one")
        with pytest.raises(ZeroDivisionError):
            await body.athrow(ZeroDivisionError())
        assert log == ["one", ZeroDivisionError, surroundings.listener.started[0]]
        assert surroundings.outcomes == [("answer", "error")]

    @async_both
    async def test_a_generator_that_is_closed_early_ends_its_run_as_cancelled(
        self, surroundings: Surroundings, make: Any
    ) -> None:
        log: list[object] = []
        body = make(log)
        await anext(body)
        await body.aclose()
        assert log == [GeneratorExit, surroundings.listener.started[0]]
        assert surroundings.outcomes == [("answer", "cancelled")]
        await body.aclose()

    async def test_it_may_be_closed_by_another_task(self, surroundings: Surroundings) -> None:
        body = async_answer()
        run = await anext(body)
        await asyncio.create_task(body.aclose())  # type: ignore[attr-defined]
        assert surroundings.listener.ended == [(run, "cancelled")]
        assert ags.current() is None

    async def test_one_that_is_dropped_is_closed_by_the_loop(self, surroundings: Surroundings) -> None:
        body = async_answer()
        await anext(body)
        del body
        gc.collect()
        for _ in range(10):
            await asyncio.sleep(0)
        assert surroundings.outcomes == [("answer", "cancelled")]

    def test_one_that_is_left_open_is_closed_with_its_loop(self, surroundings: Surroundings) -> None:
        open_ones = []

        async def main() -> None:
            open_ones.append(async_answer())
            await anext(open_ones[0])

        asyncio.run(main())
        assert surroundings.outcomes == [("answer", "cancelled")]

    async def test_a_returned_generator_that_is_never_started_ends_its_run(self, surroundings: Surroundings) -> None:
        body = async_returned()
        assert len(surroundings.listener.started) == 1
        del body
        gc.collect()
        assert surroundings.outcomes == [("answer", "cancelled")]

    async def test_the_body_is_cancelled_at_the_deadline_but_not_the_consumer(self, surroundings: Surroundings) -> None:
        @ags.workflow(0.05)
        async def slow() -> AsyncIterator[int]:
            yield 1
            await asyncio.sleep(30)
            yield 2

        body = slow()
        assert await anext(body) == 1
        await asyncio.sleep(0.1)  # the consumer is not inside: it is not cancelled, however late
        with pytest.raises(ags.DeadlineExceeded) as caught:
            await anext(body)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        assert surroundings.outcomes == [("slow", "deadline")]

    async def test_a_consumer_that_is_cancelled_while_it_waits_stays_cancelled(
        self, surroundings: Surroundings
    ) -> None:
        @ags.workflow("20s")
        async def slow() -> AsyncIterator[int]:
            await asyncio.sleep(30)
            yield 1

        async def consume() -> None:
            async for _ in slow():
                raise AssertionError

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert surroundings.outcomes == [("slow", "cancelled")]

    async def test_items_of_two_do_not_mix(self, surroundings: Surroundings) -> None:
        async def consume() -> bool:
            seen = {run async for run in async_answer()}
            return len(seen) == 1 and ags.current() is None

        assert all(await asyncio.gather(*(consume() for _ in range(20))))
        assert len({run for run, _ in surroundings.listener.ended}) == 20


class TestReturnedCoroutines:
    async def test_the_run_lives_on_in_it(self, surroundings: Surroundings) -> None:
        async def work() -> ags.Run | None:
            await asyncio.sleep(0)
            return ags.current()

        @ags.workflow("20s")
        def answer() -> Coroutine[Any, Any, ags.Run | None]:
            ags.step("plan")
            return work()

        coroutine = answer()
        assert inspect.iscoroutine(coroutine)
        assert coroutine.__name__ == "work"
        assert surroundings.outcomes == []
        assert ags.current() is None
        run = await asyncio.create_task(coroutine)
        assert run is not None
        assert surroundings.listener.ended == [(run, "ok")]

    async def test_it_is_cancelled_at_the_deadline(self, surroundings: Surroundings) -> None:
        @ags.workflow(0.02)
        def answer() -> Coroutine[Any, Any, None]:
            return asyncio.sleep(30)

        with pytest.raises(ags.DeadlineExceeded):
            await answer()
        assert surroundings.outcomes == [("answer", "deadline")]

    def test_one_that_is_closed_unawaited_ends_its_run(self, surroundings: Surroundings) -> None:
        @ags.workflow
        def answer() -> Coroutine[Any, Any, None]:
            return asyncio.sleep(30)

        coroutine = answer()
        coroutine.close()
        del coroutine
        gc.collect()
        assert surroundings.outcomes == [("answer", "cancelled")]

    def test_one_that_is_closed_halfway_elsewhere_leaves_no_trace_there(self, surroundings: Surroundings) -> None:
        @types.coroutine
        def pause() -> Generator[None, None, None]:
            yield

        async def work() -> None:
            await pause()

        coroutine = ags.workflow(work)()
        contextvars.copy_context().run(coroutine.send, None)
        with ags.deadline("5s") as other:
            coroutine.close()
            assert ags.current() is other
        assert surroundings.outcomes[0] == ("work", "cancelled")

    async def test_a_coroutine_function_may_return_a_generator(self, surroundings: Surroundings) -> None:
        @ags.workflow("20s")
        async def answer() -> AsyncIterator[ags.Run | None]:
            return inspect.unwrap(async_answer)()

        body = await answer()
        assert surroundings.outcomes == []
        assert [run async for run in body] == surroundings.listener.started * 3
        assert surroundings.outcomes == [("answer", "ok")]
