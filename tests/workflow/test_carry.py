"""Runs are carried into threads and executors while `install` is on, and only then, and only into a user's work."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing.pool import Pool, ThreadPool
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from agentsched.core.slo import SLO
from agentsched.workflow.carry import Carried, capture, carry, install, uninstall
from agentsched.workflow.frame import OUTSIDE, Frame, current_frame, detached, enter_frame, leave_frame
from agentsched.workflow.scope import Run, current_run
from agentsched.workflow.steps import current_step, name_step, register_step_source

T = TypeVar("T")

START, SUBMIT = threading.Thread.__dict__["start"], ThreadPoolExecutor.__dict__["submit"]
ADD_CALLBACK = Future.__dict__["add_done_callback"]
POOL = {name: vars(Pool)[name] for name in ("apply_async", "map", "map_async", "imap", "imap_unordered", "starmap")}


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    install()
    yield
    uninstall()
    assert threading.Thread.__dict__["start"] is START
    assert ThreadPoolExecutor.__dict__["submit"] is SUBMIT
    assert Future.__dict__["add_done_callback"] is ADD_CALLBACK
    assert {name: vars(Pool)[name] for name in POOL} == POOL
    assert current_frame() == OUTSIDE


@contextmanager
def inside(run: Run) -> Iterator[Run]:
    token = enter_frame(Frame(run=run))
    try:
        yield run
    finally:
        leave_frame(token)


@pytest.fixture
def run() -> Iterator[Run]:
    with inside(Run("answer", SLO())) as made:
        yield made


def in_thread(fn: Callable[[], T], make: Callable[..., threading.Thread] = threading.Thread) -> T:
    """What ``fn`` answers in a thread of its own."""
    answers: list[T] = []
    thread = make(target=lambda: answers.append(fn()))
    thread.start()
    thread.join()
    return answers[0]


class TestThreads:
    def test_a_thread_started_in_a_run_belongs_to_it(self, run: Run) -> None:
        assert in_thread(current_run) is run

    def test_so_does_one_that_overrides_run(self, run: Run) -> None:
        class Worker(threading.Thread):
            found: Run | None = None

            def run(self) -> None:
                self.found = current_run()
                self.own = vars(self).get("run")

        worker = Worker()
        worker.start()
        worker.join()
        assert worker.found is run
        assert worker.own is None

    def test_so_does_one_whose_run_was_replaced_on_the_instance(self, run: Run) -> None:
        thread = threading.Thread()
        found: list[Run | None] = []

        def replaced() -> None:
            found.append(current_run())

        thread.run = replaced  # type: ignore[method-assign]
        thread.start()
        thread.join()
        assert found == [run]
        assert thread.run is replaced

    def test_and_a_timer_and_a_thread_that_it_starts_in_turn(self, run: Run) -> None:
        def timer(target: Callable[[], None]) -> threading.Thread:
            return threading.Timer(0.0, target)

        assert in_thread(current_run, timer) is run
        assert in_thread(lambda: in_thread(current_run)) is run

    def test_a_thread_started_outside_does_not(self) -> None:
        assert in_thread(current_run) is None

    def test_nor_one_started_by_agentsched_itself(self, run: Run) -> None:
        def own(target: Callable[[], None]) -> threading.Thread:
            return threading.Thread(target=target, name="agentsched-portal")

        assert in_thread(current_run, own) is None

    def test_nor_one_started_in_detached_code(self, run: Run) -> None:
        with detached():
            assert in_thread(current_run) is None

    def test_a_thread_that_cannot_start_is_left_as_it_was(self, run: Run) -> None:
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            thread.start()
        assert "run" not in vars(thread)

    def test_a_thread_that_outlives_the_run_is_not_attributed_to_it(self) -> None:
        go_on, found = threading.Event(), []

        def work() -> None:
            found.append(current_run())
            go_on.wait(5)
            found.append(current_run())

        with inside(Run("answer", SLO())) as run:
            thread = threading.Thread(target=work)
            thread.start()
        run.finish("ok")
        go_on.set()
        thread.join()
        assert found == [run, None]

    def test_its_step_is_that_of_its_starter_unless_it_knows_better(self, run: Run) -> None:
        node = ["plan"]
        undo = register_step_source(lambda: node[0] if threading.current_thread() is threading.main_thread() else None)
        assert in_thread(lambda: current_step(run)) == "plan"
        undo()

        def named() -> str | None:
            name_step("detail")
            return current_step(run)

        with name_step("write"):
            assert in_thread(lambda: current_step(run)) == "write"
            assert in_thread(named) == "detail"
            assert current_step(run) == "write"


class TestExecutors:
    def test_submitted_work_belongs_to_the_run(self, run: Run) -> None:
        with ThreadPoolExecutor(2) as pool:
            assert pool.submit(current_run).result() is run
            assert list(pool.map(lambda _: current_run(), range(5))) == [run] * 5

    def test_arguments_results_and_errors_pass(self, run: Run) -> None:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(divmod, 7, 2).result() == (3, 1)
            assert pool.submit(dict, a=1).result() == {"a": 1}
            with pytest.raises(ZeroDivisionError):
                pool.submit(divmod, 7, 0).result()

    def test_workers_serve_each_run_and_keep_none(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            with inside(Run("one", SLO())) as one:
                assert pool.submit(current_run).result() is one
            with inside(Run("two", SLO())) as two:
                assert pool.submit(current_run).result() is two
            assert pool.submit(current_frame).result() == OUTSIDE
            left = weakref.ref(one)
            del one
            gc.collect()
            assert left() is None

    def test_work_that_starts_after_the_end_of_the_run_is_outside(self) -> None:
        go_on = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(go_on.wait, 5)
            with inside(Run("answer", SLO())) as run:
                queued = pool.submit(current_run)
            run.finish("ok")
            go_on.set()
            assert queued.result() is None

    def test_agentscheds_own_pools_stay_outside(self, run: Run) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="agentsched-files") as pool:
            assert pool.submit(current_run).result() is None

    def test_nor_do_jobs_go_to_other_interpreters(self, run: Run) -> None:
        class Interpreters(ThreadPoolExecutor):
            """As of Python 3.14."""

        Interpreters.__module__ = "concurrent.futures.interpreter"
        with Interpreters(1) as pool:
            assert pool.submit(current_run).result() is None

    def test_a_subclass_that_wraps_submit_is_reached_once(self, run: Run) -> None:
        class Pool(ThreadPoolExecutor):
            def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
                return super().submit(fn, *args, **kwargs)

        with Pool(1) as pool:
            assert pool.submit(current_run).result() is run

    async def test_run_in_executor_and_to_thread(self) -> None:
        loop = asyncio.get_running_loop()
        with inside(Run("answer", SLO())) as run:
            assert await loop.run_in_executor(None, current_run) is run
            assert await asyncio.to_thread(current_run) is run
        assert await loop.run_in_executor(None, current_run) is None

    def test_a_loop_of_its_own_in_a_worker(self, run: Run) -> None:
        async def main() -> Run | None:
            return current_run()

        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(asyncio.run, main()).result() is run
            assert pool.submit(anyio.run, main).result() is run

    @pytest.mark.parametrize("made", ["in the run", "in another run", "outside"])
    def test_jobs_of_a_pool_of_multiprocessings_belong_to_who_hands_them_in(self, made: str) -> None:
        run = Run("answer", SLO())
        with inside(run if made == "in the run" else Run("other", SLO())) if made != "outside" else nullcontext():
            pool = ThreadPool(2)
        heard: list[Run | None] = []
        with pool:
            with inside(run):
                assert pool.apply(current_run) is run
                assert pool.apply_async(current_run, callback=lambda _: heard.append(current_run())).get(5) is run
                assert pool.apply_async(current_run, (), {}, lambda _: heard.append(current_run())).get(5) is run
                assert pool.map(func=lambda _: current_run(), iterable=[1], chunksize=1) == [run]
                for ask in (pool.map, pool.imap, pool.imap_unordered):
                    got = sorted(ask(lambda item: (item, current_run() is run), "ab"))
                    assert got == [("a", True), ("b", True)]
                assert pool.starmap(lambda *items: (current_run(), *items), [(1, 2), (3, 4)]) == [
                    (run, 1, 2),
                    (run, 3, 4),
                ]
                with pytest.raises(ZeroDivisionError):
                    pool.map_async(lambda item: 1 / item, [0]).get(5)
            assert heard == [run, run]
            assert pool.apply(current_run) is None
            assert pool.map(lambda item: current_run() or item, [1, 2]) == [1, 2]

    def test_the_items_of_a_map_are_branches_side_by_side(self, run: Run) -> None:
        with ThreadPool(1) as pool:
            strands = pool.map(lambda _: current_frame().strand, range(3))
        assert len(set(strands)) == 3

    def test_a_callback_goes_on_where_it_was_added(self, run: Run) -> None:
        heard: list[Run | None] = []
        go_on = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(go_on.wait, 5)
            future.add_done_callback(lambda _: heard.append(current_run()))
            with detached():
                future.add_done_callback(lambda _: heard.append(current_run()))
            go_on.set()
        assert heard == [run, None]

    def test_callbacks_that_only_wake_somebody_up_are_left_alone(self, run: Run) -> None:
        async def main() -> object:
            return await asyncio.to_thread(current_run)

        added: list[object] = []
        with pytest.MonkeyPatch.context() as patching:
            patching.setattr(Carried, "call", lambda self, fn, *args: added.append(fn) or fn(*args))
            asyncio.run(main())
        names = [getattr(fn, "__qualname__", type(fn).__name__) for fn in added]
        assert "partial" in names, "the job is carried"
        assert [name for name in names if name.startswith("_chain_future")] == []


class TestPortals:
    """Threads of event loops serve whoever calls into them: the caller's context counts, not the starter's."""

    def test_a_portal_made_in_one_run_serves_another(self) -> None:
        async def whose() -> Run | None:
            return current_run()

        with inside(Run("one", SLO())) as one:
            starting = anyio.from_thread.start_blocking_portal()
            portal = starting.__enter__()
            assert portal.call(whose) is one
        with inside(Run("two", SLO())) as two:
            assert portal.call(whose) is two
        assert portal.call(whose) is None
        starting.__exit__(None, None, None)

    async def test_anyio_workers_serve_each_run(self) -> None:
        with inside(Run("one", SLO())) as one:
            assert await anyio.to_thread.run_sync(current_run) is one
        with inside(Run("two", SLO())) as two:
            assert await anyio.to_thread.run_sync(current_run) is two
        assert await anyio.to_thread.run_sync(current_run) is None

    def test_a_loop_thread_made_in_one_run_serves_another(self) -> None:
        loop = asyncio.new_event_loop()

        async def whose() -> Run | None:
            return current_run()

        def ask() -> Run | None:
            return asyncio.run_coroutine_threadsafe(whose(), loop).result(5)

        with inside(Run("one", SLO())) as one:
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            assert ask() is one
        one.finish("ok")
        with inside(Run("two", SLO())) as two:
            assert ask() is two
        assert ask() is None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class TestInstalling:
    def test_it_is_idempotent_and_leaves_no_trace(self) -> None:
        for _ in range(3):
            install()
        start = threading.Thread.__dict__["start"]
        install()
        assert threading.Thread.__dict__["start"] is start is not START
        assert (start.__name__, start.__doc__) == (START.__name__, START.__doc__)
        for _ in range(3):
            uninstall()
        assert threading.Thread.__dict__["start"] is START

    def test_uninstalled_it_carries_nothing(self, run: Run) -> None:
        uninstall()
        assert in_thread(current_run) is None
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(current_run).result() is None

    def test_another_tool_on_top_of_it_stays_in_place(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        ours = threading.Thread.start
        seen: list[str] = []

        def start(self: threading.Thread) -> None:
            seen.append(self.name)
            ours(self)

        monkeypatch.setattr(threading.Thread, "start", start)
        uninstall()
        assert threading.Thread.start is start
        assert in_thread(current_run) is None
        install()
        assert in_thread(current_run) is run
        uninstall()
        assert threading.Thread.start is start
        assert len(seen) == 2
        monkeypatch.undo()
        install()
        assert in_thread(current_run) is run
        uninstall()
        assert threading.Thread.__dict__["start"] is START

    def test_a_tool_below_it_that_takes_run_apart(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """As Sentry does: it calls the function of the method ``run`` with the thread."""
        uninstall()

        def start(self: threading.Thread) -> None:
            body = getattr(self.run, "__func__", self.run)
            self.run = lambda: body(threading.current_thread())  # type: ignore[method-assign]
            START(self)

        monkeypatch.setattr(threading.Thread, "start", start)
        install()
        assert in_thread(current_run) is run
        uninstall()
        assert threading.Thread.start is start
        monkeypatch.undo()

    def test_a_tool_that_gave_timers_a_start_of_their_own(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """As OpenTelemetry does: it goes by the ``start`` of threads that there was before ours."""
        uninstall()
        monkeypatch.setattr(threading.Timer, "start", lambda self: START(self), raising=False)
        theirs = threading.Timer.start
        install()
        assert in_thread(current_run, lambda target: threading.Timer(0.0, target)) is run
        uninstall()
        assert threading.Timer.start is theirs


class TestCarry:
    """A function bound by hand reaches threads that existed before the run."""

    @pytest.fixture(autouse=True)
    def by_hand(self) -> None:
        uninstall()

    def test_outside_a_run_nothing_is_bound(self) -> None:
        assert carry(current_run) is current_run
        assert capture() is None

    def test_a_function(self, run: Run) -> None:
        @carry
        def work(x: int) -> tuple[int, Run | None]:
            """Docs."""
            return x, current_run()

        assert in_thread(lambda: work(3)) == (3, run)
        assert (work.__name__, work.__doc__) == ("work", "Docs.")

    def test_many_threads_at_the_same_time(self, run: Run) -> None:
        together = threading.Barrier(3, timeout=5)

        def meet(_: int) -> Run | None:
            together.wait()
            return current_run()

        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(carry(meet), range(3))) == [run] * 3

    def test_a_coroutine_function_in_another_loop(self, run: Run) -> None:
        @carry
        async def work() -> Run | None:
            await asyncio.sleep(0)
            return current_run()

        assert in_thread(lambda: asyncio.run(work())) is run

    def test_a_generator_is_inside_its_consumer_is_not(self, run: Run) -> None:
        @carry
        def work() -> Iterator[Run | None]:
            name_step("plan")
            yield current_run()
            assert current_step(run) == "plan"
            yield current_run()

        def consume() -> list[Run | None]:
            found: list[Run | None] = []
            for each in work():
                found += [each, current_run()]
            return found

        assert in_thread(consume) == [run, None, run, None]

    def test_an_async_generator_likewise(self, run: Run) -> None:
        @carry
        async def work() -> AsyncIterator[Run | None]:
            yield current_run()
            await asyncio.sleep(0)
            yield current_run()

        async def consume() -> list[Run | None]:
            found: list[Run | None] = []
            async for each in work():
                found += [each, current_run()]
            return found

        assert in_thread(lambda: asyncio.run(consume())) == [run, None, run, None]

    def test_errors_pass(self, run: Run) -> None:
        def broken() -> None:
            raise ZeroDivisionError

        async def broken_later() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            carry(broken)()
        with pytest.raises(ZeroDivisionError):
            asyncio.run(carry(broken_later)())

    def test_a_block_in_a_captured_place(self) -> None:
        with inside(Run("answer", SLO())) as run:
            place = capture()
        assert place is not None
        with place.applied():
            assert current_run() is run
        assert current_run() is None
