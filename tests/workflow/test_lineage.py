"""Whose answers a call goes on from: by what was started where, and by what was asked and answered when."""

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentsched.core.slo import SLO
from agentsched.workflow.carry import carry, install, uninstall
from agentsched.workflow.frame import Frame, current_frame, enter_frame, leave_frame
from agentsched.workflow.lineage import AT_ONCE_S, Lineage, Strand, lineage_of
from agentsched.workflow.scope import Run
from agentsched.workflow.steps import register_step_source

CREATE_TASK = asyncio.BaseEventLoop.__dict__["create_task"]
EAGER_TASK_FACTORY = getattr(asyncio, "eager_task_factory", None)
TOOL_S = 10 * AT_ONCE_S


class Story:
    """Calls of one run on a clock that is told; in an event loop, threads, or contexts that are copied by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.run = Run("story", SLO(), clock=lambda: self.now)
        self.lineage = lineage_of(self.run)
        self.parents: dict[str, tuple[str, ...]] = {}
        self.waited = 0.0

    def ask(self, *calls: str, step: str = "step") -> None:
        for call in calls:
            self.parents[call], self.waited = self.lineage.begin(call, step, self.now)

    def answer(self, *calls: str) -> None:
        for call in calls:
            self.lineage.end(call, self.now, answered=True)

    def call(self, name: str, *, after_s: float = 0.0, step: str = "step") -> None:
        """A call that takes a second."""
        self.now += after_s
        self.ask(name, step=step)
        self.now += 1.0
        self.answer(name)


@pytest.fixture
def story() -> Iterator[Story]:
    install()
    story = Story()
    token = enter_frame(Frame(run=story.run))
    yield story
    leave_frame(token)
    uninstall()
    assert asyncio.BaseEventLoop.__dict__["create_task"] is CREATE_TASK
    assert getattr(asyncio, "eager_task_factory", None) is EAGER_TASK_FACTORY
    assert not story.lineage._running


def branch(step: Callable[..., None], *arguments: str) -> None:
    contextvars.copy_context().run(step, *arguments)


class TestWithoutStrands:
    """What contexts alone tell."""

    def test_one_after_the_other(self, story: Story) -> None:
        for call in "abc":
            story.call(call)
        assert story.parents == {"a": (), "b": ("a",), "c": ("b",)}

    def test_fan_out_and_join(self, story: Story) -> None:
        story.call("plan")
        branch(story.ask, "r1")
        branch(story.ask, "r2")
        story.answer("r2")
        branch(story.ask, "r3")
        story.answer("r1", "r3")
        branch(story.call, "write")
        assert story.parents["r1"] == story.parents["r2"] == story.parents["r3"] == ("plan",)
        assert set(story.parents["write"]) == {"r1", "r2", "r3"}

    def test_branches_do_not_take_each_others_answers(self, story: Story) -> None:
        def chain(first: str, second: str) -> Iterator[None]:
            story.ask(first)
            yield
            story.answer(first)
            yield
            story.ask(second)
            story.answer(second)
            yield

        contexts = [contextvars.copy_context() for _ in range(2)]
        chains = [chain("a1", "a2"), chain("b1", "b2")]
        for _ in range(3):
            for context, steps in zip(contexts, chains, strict=True):
                context.run(next, steps)
        story.call("join")
        assert story.parents == {"a1": (), "b1": (), "a2": ("a1",), "b2": ("b1",), "join": ("a2", "b2")}

    def test_a_failed_call_is_nobodys_parent(self, story: Story) -> None:
        story.call("a")
        story.ask("failed")
        story.lineage.end("failed", story.now, answered=False)
        story.call("again")
        assert story.parents["again"] == ("a",)

    def test_tool_time(self, story: Story) -> None:
        story.now = 103.0
        story.ask("a")
        assert story.waited == 3.0
        story.now = 110.0
        story.answer("a")
        story.now = 112.5
        story.ask("b")
        assert story.waited == 2.5
        story.now = 109.0  # another thread's clock reading may be older
        branch(story.ask, "c")
        assert story.waited == 0.0
        story.answer("b", "c")

    def test_each_run_has_its_own(self, story: Story) -> None:
        assert lineage_of(story.run) is lineage_of(story.run)
        assert lineage_of(story.run) is not lineage_of(Run("other", SLO()))

    def test_calls_of_a_run_inside_are_not_taken_for_the_outer_ones(self, story: Story) -> None:
        story.call("a")
        inner = Story()
        token = enter_frame(Frame(run=inner.run))
        inner.call("inner")
        leave_frame(token)
        story.call("b")
        assert (inner.parents["inner"], story.parents["b"]) == ((), ("a",))


class TestTasks:
    async def test_branches_that_do_not_overlap_are_branches(self, story: Story) -> None:
        """The first has ended before the second begins: it was kept waiting, or busy."""
        turn = asyncio.Semaphore(1)

        async def research(name: str) -> None:
            async with turn:
                await asyncio.sleep(0)
                story.call(name)

        story.call("plan")
        await asyncio.gather(*(research(f"r{number}") for number in range(3)))
        story.call("write")
        assert [story.parents[f"r{number}"] for number in range(3)] == [("plan",)] * 3
        assert story.parents["write"] == ("r0", "r1", "r2")

    async def test_so_are_those_of_other_steps_that_had_something_else_to_do(self, story: Story) -> None:
        gate = asyncio.Event()

        async def quick() -> None:
            story.call("quick", step="one")
            gate.set()

        async def slow() -> None:
            await gate.wait()
            story.call("slow", step="two", after_s=TOOL_S)

        async with asyncio.TaskGroup() as group:
            group.create_task(quick())
            group.create_task(slow())
        story.call("join", step="three")
        assert story.parents == {"quick": (), "slow": (), "join": ("quick", "slow")}
        assert story.waited == 0.0

    @pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="Python 3.11 has no eager tasks")
    @pytest.mark.parametrize("by", ["the factory", "the factory in a context", "the loop"])
    async def test_so_are_tasks_that_begin_at_once(self, story: Story, by: str) -> None:
        loop, eager = asyncio.get_running_loop(), asyncio.eager_task_factory  # type: ignore[attr-defined]

        async def one(name: str) -> None:
            story.ask(name, step=name)
            await asyncio.sleep(0)
            story.now += TOOL_S
            story.answer(name)

        story.call("plan", step="plan")
        if by == "the loop":
            loop.set_task_factory(eager)
            tasks = [loop.create_task(one(name)) for name in ("left", "right")]
            loop.set_task_factory(None)
        else:
            copied = [{"context": contextvars.copy_context()} if "context" in by else {} for _ in range(2)]
            tasks = [eager(loop, one(name), **given) for name, given in zip(("left", "right"), copied, strict=True)]
        await asyncio.gather(*tasks)
        story.call("join", step="join")
        assert story.parents == {"plan": (), "left": ("plan",), "right": ("plan",), "join": ("left", "right")}

    async def test_a_task_that_asks_for_something_else_at_once_has_waited(self, story: Story) -> None:
        async def first() -> None:
            story.call("first", step="one")

        async def second() -> None:
            await task
            story.call("second", step="two")

        task = asyncio.create_task(first())
        await asyncio.create_task(second())
        assert story.parents["second"] == ("first",)

    @pytest.mark.parametrize(
        ("tasks", "waited"),
        [
            (("1", "2"), False),
            (("1|a", "2"), False),
            (("1|a", "1|b|c"), False),
            (("1", "1"), True),
            (("1", "1|a"), True),
            (("1", ""), True),
        ],
    )
    async def test_but_not_for_another_task_of_a_framework_that_says_so(
        self, story: Story, tasks: tuple[str, str], waited: bool
    ) -> None:
        task: contextvars.ContextVar[str] = contextvars.ContextVar("task")
        undo = register_step_source(lambda: None, lambda: tuple(task.get().split("|")) if task.get() else None)
        gate = asyncio.Event()

        async def left() -> None:
            task.set(tasks[0])
            story.call("left", step="one")
            gate.set()

        async def right() -> None:
            task.set(tasks[1])
            await gate.wait()
            story.call("right", step="two")

        await asyncio.gather(left(), right())
        undo()
        undo()
        assert story.parents == {"left": (), "right": ("left",) if waited else ()}

    async def test_a_task_started_later_goes_on_from_what_there_was_then(self, story: Story) -> None:
        async def one(name: str) -> None:
            story.call(name)

        for name in ("a", "b", "c"):
            await asyncio.create_task(one(name))
        assert story.parents == {"a": (), "b": ("a",), "c": ("b",)}

    async def test_branches_that_start_tasks_of_their_own_keep_to_themselves(self, story: Story) -> None:
        async def one(name: str) -> None:
            await asyncio.sleep(0)
            story.call(name)

        async def chain(name: str) -> None:
            for number in (1, 2):
                await asyncio.create_task(one(f"{name}{number}"))
            await asyncio.gather(one(f"{name}3"), one(f"{name}4"))
            story.call(f"{name}5")

        story.call("plan")
        await asyncio.gather(chain("a"), chain("b"))
        story.call("join")
        for name in "ab":
            found = [story.parents[f"{name}{number}"] for number in (1, 2, 3, 4)]
            assert found == [("plan",), (f"{name}1",), (f"{name}2",), (f"{name}2",)]
            assert set(story.parents[f"{name}5"]) == {f"{name}3", f"{name}4"}
        assert story.parents["join"] == ("a5", "b5")

    async def test_a_task_in_the_background_is_not_waited_for(self, story: Story) -> None:
        gate = asyncio.Event()

        async def background() -> None:
            story.ask("background")
            await gate.wait()
            story.answer("background")

        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        story.call("a")
        story.call("b")
        gate.set()
        await task
        assert story.parents == {"background": (), "a": (), "b": ("a",)}

    async def test_what_reacts_to_the_first_that_is_done_goes_on_from_it(self, story: Story) -> None:
        gate = asyncio.Event()

        async def one(name: str, waits: bool) -> None:
            story.ask(name)
            if waits:
                await gate.wait()
            story.answer(name)

        story.call("plan")
        tasks = {asyncio.create_task(one(name, name == "slow")) for name in ("fast", "slow")}
        done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        story.call("reacts")
        gate.set()
        await asyncio.gather(*others)
        assert len(done) == 1
        assert story.parents["reacts"] == ("fast",)

    async def test_its_own_last_answer_counts_even_if_another_has_used_it(self, story: Story) -> None:
        asked = asyncio.Event()

        async def worker() -> None:
            story.call("one")
            asked.set()
            await used.wait()
            story.call("two")

        used = asyncio.Event()
        task = asyncio.create_task(worker())
        await asked.wait()
        story.call("outside")
        used.set()
        await task
        assert story.parents == {"one": (), "outside": ("one",), "two": ("one",)}

    async def test_a_context_that_is_given_is_the_tasks(self, story: Story) -> None:
        """LangGraph gives one; a factory that takes none, and a context that is in use, do no harm."""
        context, mine = contextvars.copy_context(), current_frame().strand

        async def strand() -> object:
            return current_frame().strand

        found = await asyncio.get_running_loop().create_task(strand(), context=context, name="mine")
        assert isinstance(found, Strand)
        assert context.run(current_frame).strand is found
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))
        assert isinstance(await loop.create_task(strand()), Strand)
        loop.set_task_factory(None)

        async def inside(own: contextvars.Context) -> object:
            return await loop.create_task(strand(), context=own)

        own = contextvars.copy_context()
        assert await loop.create_task(inside(own), context=own) is own.run(current_frame).strand
        assert current_frame().strand is mine

    async def test_a_context_of_another_run_is_left_alone(self, story: Story) -> None:
        other = contextvars.Context()

        async def frame() -> Frame:
            return current_frame()

        assert await asyncio.get_running_loop().create_task(frame(), context=other) == Frame()

    async def test_a_chain_of_tasks_without_end_keeps_no_memory(self, story: Story) -> None:
        depths: list[int] = []

        async def again(left: int) -> None:
            strand = current_frame().strand
            depths.append(strand.depth if isinstance(strand, Strand) else 0)
            story.call(f"call {left}")
            if left:
                await asyncio.create_task(again(left - 1))

        await again(60)
        assert [depth - depths[0] for depth in depths[:3]] == [0, 1, 2]
        assert max(depths) == depths[-1] < 20
        assert story.parents["call 0"] == ("call 1",)
        assert len(story.lineage._first._open) == 1


class TestThreads:
    def test_threads_started_together_are_branches(self, story: Story) -> None:
        story.call("plan")
        order = [threading.Event() for _ in range(3)]
        order[0].set()

        def research(number: int) -> None:
            order[number].wait(5)
            story.call(f"r{number}")
            if number < 2:
                order[number + 1].set()

        threads = [threading.Thread(target=research, args=(number,)) for number in range(3)]
        for thread in reversed(threads):
            thread.start()
        for thread in threads:
            thread.join()
        story.call("write")
        assert [story.parents[f"r{number}"] for number in range(3)] == [("plan",)] * 3
        assert story.parents["write"] == ("r0", "r1", "r2")

    def test_jobs_of_one_worker_are_branches_whatever_they_do(self, story: Story) -> None:
        gate = threading.Event()

        def job(name: str) -> None:
            gate.wait(5)
            story.call(name, step=name)

        story.call("plan")
        with ThreadPoolExecutor(1) as pool:
            jobs = [pool.submit(job, name) for name in "abc"]
            gate.set()
            for each in jobs:
                each.result()
        story.call("write")
        assert [story.parents[name] for name in "abc"] == [("plan",)] * 3
        assert story.parents["write"] == ("a", "b", "c")

    def test_a_job_that_was_answered_and_goes_on_is_a_branch_beside_the_next(self, story: Story) -> None:
        """Whoever hands jobs in may be slower than their first answers."""
        answered, go_on = threading.Event(), threading.Event()

        def job() -> None:
            story.call("a")
            answered.set()
            go_on.wait(5)
            story.call("a, again")

        story.call("plan")
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(job)
            answered.wait(5)
            pool.submit(story.call, "b").result()
            go_on.set()
            first.result()
            pool.submit(story.call, "c").result()
        assert story.parents["b"] == ("plan",)
        assert story.parents["a, again"] == ("a",)
        assert set(story.parents["c"]) == {"a, again", "b"}

    def test_jobs_handed_in_one_after_the_other_are_a_chain(self, story: Story) -> None:
        with ThreadPoolExecutor(1) as pool:
            for name in "abc":
                pool.submit(story.call, name).result()
        assert story.parents == {"a": (), "b": ("a",), "c": ("b",)}

    async def test_so_are_calls_made_in_threads_by_a_coroutine(self, story: Story) -> None:
        for name in "ab":
            await asyncio.to_thread(story.call, name)
        await asyncio.gather(*(asyncio.to_thread(branch, story.call, name) for name in ("c1", "c2")))
        story.call("d")
        assert story.parents["b"] == ("a",)
        assert story.parents["c1"] == story.parents["c2"] == ("b",)
        assert set(story.parents["d"]) == {"c1", "c2"}

    def test_contexts_that_frameworks_bring_along_are_strands_as_well(self, story: Story) -> None:
        def tick(fn: Callable[..., None], *arguments: str) -> None:
            fn(*arguments)

        def started(fn: Callable[..., None], name: str) -> None:
            thread = threading.Thread(target=contextvars.copy_context().run, args=(fn, name))
            thread.start()
            thread.join()

        gate = threading.Event()
        story.call("plan")
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(gate.wait, 5)
            jobs = [
                pool.submit(contextvars.copy_context().run, story.call, "a"),
                pool.submit(
                    functools.partial(contextvars.copy_context().run, contextvars.copy_context().run, story.call), "b"
                ),
                pool.submit(tick, contextvars.copy_context().run, story.call, "c"),
            ]
            gate.set()
            for each in (waits, *jobs):
                each.result()
        assert [story.parents[name] for name in "abc"] == [("plan",)] * 3
        started(story.call, "d")
        assert story.parents["d"] == ("a", "b", "c")

    def test_what_is_carried_goes_on_from_where_that_was_said(self, story: Story) -> None:
        story.call("a")
        later = carry(story.call)
        story.call("b")
        contextvars.Context().run(later, "c")
        assert story.parents["c"] == ("a",)


def test_an_answer_that_the_garbage_collector_ends_in_the_middle_of_a_call_does_no_harm() -> None:
    lineage = Lineage(0.0)
    with lineage._lock:
        contextvars.copy_context().run(lineage.begin, "a", "step", 1.0)
        lineage.end("a", 2.0, answered=True)
    assert contextvars.copy_context().run(lineage.begin, "b", "step", 3.0) == (("a",), 1.0)
