"""Where plain Python takes a decorated run without the user's help, and that nothing leaks out of it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

import agentsched as ags

Surroundings = Any  # tests/conftest.py
Seen = tuple[ags.Run | None, str | None]
Reach = Callable[[Callable[[], Seen]], Seen]
AsyncReach = Callable[[Callable[[], Seen]], Awaitable[Seen]]


@pytest.fixture(autouse=True)
def nothing_is_loaded(surroundings: Surroundings) -> None:
    """Every test here runs without a scheduler."""


def model_call() -> Seen:
    """The run and the step that a model call in this place would be attributed to."""
    run = ags.current()
    return run, run and run.step


def directly(call: Callable[[], Seen]) -> Seen:
    return call()


def in_a_thread(call: Callable[[], Seen]) -> Seen:
    seen: list[Seen] = []
    thread = threading.Thread(target=lambda: seen.append(call()))
    thread.start()
    thread.join()
    return seen[0]


def in_a_thread_of_a_thread(call: Callable[[], Seen]) -> Seen:
    return in_a_thread(lambda: in_a_thread(call))


def in_a_new_pool(call: Callable[[], Seen]) -> Seen:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def in_the_map_of_a_pool(call: Callable[[], Seen]) -> Seen:
    with ThreadPoolExecutor(2) as pool:
        seen = set(pool.map(lambda _: call(), range(8)))
    (only,) = seen
    return only


def in_a_loop(call: Callable[[], Seen]) -> Seen:
    async def main() -> Seen:
        return call()

    return asyncio.run(main())


def in_a_loop_in_a_pool(call: Callable[[], Seen]) -> Seen:
    async def main() -> Seen:
        return call()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, main()).result()


def in_an_anyio_portal(call: Callable[[], Seen]) -> Seen:
    with anyio.from_thread.start_blocking_portal() as portal:
        return portal.call(call)


def inside_another_run(call: Callable[[], Seen]) -> Seen:
    ags.workflow(model_call)()
    return call()


def in_a_generator(call: Callable[[], Seen]) -> Seen:
    return next(call() for _ in range(1))


async def in_a_task(call: Callable[[], Seen]) -> Seen:
    async def work() -> Seen:
        await asyncio.sleep(0)
        return call()

    return await asyncio.create_task(work())


async def in_a_task_group(call: Callable[[], Seen]) -> Seen:
    async def work() -> Seen:
        await asyncio.sleep(0)
        return call()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work()) for _ in range(3)]
    (only,) = {task.result() for task in tasks}
    return only


async def in_an_anyio_task_group(call: Callable[[], Seen]) -> Seen:
    seen: list[Seen] = []

    async def work() -> None:
        seen.append(call())

    async with anyio.create_task_group() as group:
        group.start_soon(work)
    return seen[0]


async def under_wait_for(call: Callable[[], Seen]) -> Seen:
    return await asyncio.wait_for(in_a_task(call), 5)


async def in_a_callback(call: Callable[[], Seen]) -> Seen:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Seen] = loop.create_future()
    loop.call_soon(lambda: future.set_result(call()))
    return await future


async def by_to_thread(call: Callable[[], Seen]) -> Seen:
    return await asyncio.to_thread(call)


async def by_run_in_executor(call: Callable[[], Seen]) -> Seen:
    return await asyncio.get_running_loop().run_in_executor(None, call)


async def by_an_anyio_worker(call: Callable[[], Seen]) -> Seen:
    return await anyio.to_thread.run_sync(call)


async def back_from_an_anyio_worker(call: Callable[[], Seen]) -> Seen:
    return await anyio.to_thread.run_sync(lambda: anyio.from_thread.run_sync(call))


async def by_run_coroutine_threadsafe(call: Callable[[], Seen]) -> Seen:
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(in_a_task(call), loop).result(5))


SYNC: list[Reach] = [
    directly,
    in_a_thread,
    in_a_thread_of_a_thread,
    in_a_new_pool,
    in_the_map_of_a_pool,
    in_a_loop,
    in_a_loop_in_a_pool,
    in_an_anyio_portal,
    inside_another_run,
    in_a_generator,
]
ASYNC: list[AsyncReach] = [
    in_a_task,
    in_a_task_group,
    in_an_anyio_task_group,
    under_wait_for,
    in_a_callback,
    by_to_thread,
    by_run_in_executor,
    by_an_anyio_worker,
    back_from_an_anyio_worker,
    by_run_coroutine_threadsafe,
]


@pytest.mark.parametrize("reach", SYNC, ids=lambda reach: reach.__name__)
def test_a_synchronous_run_reaches_its_model_calls(surroundings: Surroundings, reach: Reach) -> None:
    @ags.workflow(name="answer")
    def answer() -> tuple[Seen, ags.Run | None]:
        with ags.step("plan"):
            return reach(model_call), ags.current()

    seen, run = answer()
    assert run is not None
    assert seen == (run, "plan")
    assert (run, "ok") in surroundings.listener.ended
    assert reach(model_call) == (None, None)


@pytest.mark.parametrize("reach", ASYNC, ids=lambda reach: reach.__name__)
async def test_an_asynchronous_run_reaches_its_model_calls(surroundings: Surroundings, reach: AsyncReach) -> None:
    @ags.workflow(name="answer")
    async def answer() -> tuple[Seen, ags.Run | None]:
        with ags.step("plan"):
            return await reach(model_call), ags.current()

    seen, run = await answer()
    assert run is not None
    assert seen == (run, "plan")
    assert surroundings.listener.ended == [(run, "ok")]
    assert await reach(model_call) == (None, None)


class TestNoLeaks:
    """A run that is over is nobody's any more, and a run never gets another's calls."""

    def test_a_pool_serves_run_after_run(self) -> None:
        with ThreadPoolExecutor(1) as pool:

            @ags.workflow
            def answer() -> tuple[ags.Run | None, Seen]:
                return ags.current(), pool.submit(model_call).result()

            for _ in range(3):
                run, seen = answer()
                assert seen == (run, None)
            assert pool.submit(model_call).result() == (None, None)

    def test_a_thread_that_goes_on_after_its_run_joins_no_other(self) -> None:
        go_on, seen = threading.Event(), []

        def work() -> None:
            go_on.wait(5)
            seen.append(model_call())

        @ags.workflow
        def start() -> threading.Thread:
            thread = threading.Thread(target=work)
            thread.start()
            return thread

        @ags.workflow
        def other(thread: threading.Thread) -> None:
            go_on.set()
            thread.join()

        other(start())
        assert seen == [(None, None)]

    async def test_a_task_that_goes_on_after_its_run_joins_no_other(self) -> None:
        go_on = asyncio.Event()

        async def work() -> Seen:
            await go_on.wait()
            return model_call()

        @ags.workflow
        async def start() -> list[asyncio.Task[Seen]]:
            return [asyncio.create_task(work())]

        @ags.workflow
        async def other(task: asyncio.Task[Seen]) -> Seen:
            go_on.set()
            return await task

        (task,) = await start()
        assert await other(task) == (None, None)

    async def test_a_task_of_an_inner_run_that_goes_on_belongs_to_the_outer_one(self) -> None:
        go_on = asyncio.Event()

        async def work() -> Seen:
            await go_on.wait()
            return model_call()

        @ags.workflow
        async def inner() -> list[asyncio.Task[Seen]]:
            return [asyncio.create_task(work())]

        @ags.workflow
        async def outer() -> tuple[Seen, ags.Run | None]:
            (task,) = await inner()
            go_on.set()
            return await task, ags.current()

        seen, run = await outer()
        assert seen == (run, None)

    def test_an_error_leaves_nothing_behind(self) -> None:
        def broken() -> None:
            ags.step("plan")
            ags.hint(output_tokens=3)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            ags.workflow(broken)()
        assert model_call() == (None, None)

    def test_another_process_is_outside(self) -> None:
        @ags.workflow
        def answer() -> Seen:
            import multiprocessing

            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                return pool.submit(model_call).result()

        assert answer() == (None, None)

    def test_uninstrumented_the_patches_are_gone_until_the_next_run(self) -> None:
        start, submit = threading.Thread.start, ThreadPoolExecutor.submit
        ags.instrument()
        assert threading.Thread.start is not start
        ags.uninstrument()
        assert (threading.Thread.start, ThreadPoolExecutor.submit) == (start, submit)

        @ags.workflow
        def answer() -> tuple[Seen, ags.Run | None]:
            return in_a_thread(model_call), ags.current()

        seen, run = answer()
        assert seen == (run, None)


def test_carry_takes_a_run_into_a_thread_that_was_there_before() -> None:
    import queue

    jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def serve() -> None:
        while (job := jobs.get()) is not None:
            job()

    thread = threading.Thread(target=serve)
    thread.start()
    seen: list[Seen] = []

    @ags.workflow
    def answer() -> ags.Run | None:
        done = threading.Event()
        jobs.put(lambda: seen.append(model_call()))
        jobs.put(ags.carry(lambda: seen.append(model_call())))
        jobs.put(done.set)
        done.wait(5)
        return ags.current()

    run = answer()
    jobs.put(None)
    thread.join()
    assert seen == [(None, None), (run, None)]
