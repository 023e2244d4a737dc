"""Blocks and functions that are left where their first model call is not made."""

import asyncio
import gc
import pickle
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Iterator

import pytest

import agentsched as ags
from agentsched.workflow.optional import leave_out, left_visit, open_visits, settle_visits
from agentsched.workflow.scope import Run


@pytest.fixture(autouse=True)
def _nothing_is_loaded(surroundings: object) -> None:
    """Every test here runs without a scheduler."""


def running() -> Run:
    run = ags.current()
    assert run is not None
    return run


def call(*, outermost: bool = False) -> None:
    """A model call that is told that a step around it is left out."""
    error = left_visit()
    if error is None:
        visit = open_visits(running())[0 if outermost else -1]
        error = ags.StepSkipped(visit.rpartition("#")[0], "no time", visit)
        leave_out(error, running())
    raise error


@ags.workflow
def in_a_run(body: object) -> object:
    assert callable(body)
    return body()


def test_a_block_ends_at_its_first_call():
    def body() -> tuple[str, ...]:
        with ags.step("critique", optional=True) as step:
            assert running().step == "critique"
            call()
            raise AssertionError("it goes on")
        assert step.skipped
        assert running().step == "critique", "the last one that was reached"
        assert open_visits(running()) == ()
        assert repr(step) == "<OptionalStep 'critique', left out>"
        return running().skipped

    assert in_a_run(body) == ("critique",)


def test_a_block_whose_calls_are_made_is_an_ordinary_step():
    def body() -> None:
        with ags.step("critique", optional=True) as step:
            assert open_visits(running()) == ("critique#0",)
        assert not step.skipped
        with pytest.raises(KeyError), ags.step("critique", optional=True):
            raise KeyError("an error of the program's own")
        assert running().skipped == ()
        assert "critique" in running().begun

    in_a_run(body)


def test_outside_a_run_nothing_is_left_out():
    with ags.step("critique", optional=True) as step:
        assert ags.current() is None
    assert not step.skipped
    assert ags.optional(lambda: "done")() == "done"
    with pytest.raises(KeyError), ags.step("critique", optional=True):
        raise KeyError


def test_whatever_a_framework_makes_of_the_error_ends_with_the_block():
    def body() -> bool:
        with ags.step("critique", optional=True) as step:
            try:
                call()
            except ags.StepSkipped:
                raise RuntimeError("the model did not answer") from None
        return step.skipped

    assert in_a_run(body) is True


@pytest.mark.parametrize("error", [ags.DeadlineExceeded(), asyncio.CancelledError(), KeyboardInterrupt()])
def test_the_end_of_the_run_and_of_the_program_is_not_hidden(error):
    def body() -> None:
        with ags.step("critique", optional=True):
            try:
                call()
            except ags.StepSkipped:
                raise error from None

    with pytest.raises(type(error)):
        in_a_run(body)


def test_once_left_out_nothing_more_is_asked_in_it_but_behind_it():
    def body() -> None:
        with ags.step("critique", optional=True):
            for _ in range(3):
                with pytest.raises(ags.StepSkipped, match="no time"):
                    call()
        assert left_visit() is None
        assert running().skipped == ("critique",)
        with ags.step("critique", optional=True):
            assert left_visit() is None, "every visit is decided anew"

    in_a_run(body)


def test_what_outlives_a_step_that_was_left_out_sends_nothing_either():
    def body() -> None:
        with ags.step("critique", optional=True):
            later = ags.carry(left_visit)
            call()
        assert isinstance(later(), ags.StepSkipped)
        assert left_visit() is None

    in_a_run(body)


def test_of_steps_inside_steps_the_error_ends_the_one_that_is_left_out():
    def body() -> tuple[str, ...]:
        with ags.step("outer", optional=True) as outer:
            with ags.step("inner", optional=True) as inner:
                assert open_visits(running()) == ("outer#0", "inner#1")
                call()
            assert inner.skipped
            assert not outer.skipped
            with ags.step("inner", optional=True) as inner:
                call(outermost=True)
            raise AssertionError("the outer one goes on")
        assert outer.skipped
        assert not inner.skipped
        return running().skipped

    assert in_a_run(body) == ("inner", "outer")


def test_a_run_inside_has_steps_of_its_own_and_ends_with_what_is_left_out_around_it():
    def body() -> None:
        with ags.step("outer", optional=True):

            @ags.workflow
            def inner() -> None:
                assert open_visits(running()) == ()
                with ags.step("inner", optional=True):
                    assert open_visits(running()) == ("inner#0",)
                    call()
                assert left_visit() is None

            inner()
            with pytest.raises(ags.StepSkipped):
                call()
            with pytest.raises(ags.StepSkipped):
                ags.workflow(call)()
        assert running().skipped == ("outer",)

    in_a_run(body)


def test_a_step_of_which_a_call_went_out_unseen_is_not_asked_about_any_more():
    def body() -> None:
        with ags.step("outer", optional=True), ags.step("inner", optional=True):
            settle_visits()
            assert open_visits(running()) == ()

    in_a_run(body)


def test_a_call_of_a_run_inside_begins_the_steps_around_it():
    def body() -> None:
        with ags.step("outer", optional=True):

            @ags.workflow
            def inner() -> None:
                with ags.step("inner", optional=True):
                    settle_visits(scheduled=running())
                    assert open_visits(running()) == ("inner#0",)

            inner()
            assert open_visits(running()) == ()

    in_a_run(body)


def test_what_goes_on_after_the_step_is_no_part_of_it():
    def body() -> None:
        def visits() -> tuple[str, ...]:
            return open_visits(running())

        with ags.step("critique", optional=True):
            assert visits() == ("critique#0",)
            later = ags.carry(visits)
        assert later() == ()
        made = ags.optional(name="polish")(lambda: ags.carry(visits))()
        assert made() == ()

    in_a_run(body)


async def test_a_task_that_outlives_the_step_is_no_part_of_it():
    async def visits() -> tuple[str, ...]:
        return open_visits(running())

    @ags.workflow
    async def flow() -> tuple[str, ...]:
        async with ags.step("critique", optional=True):
            task = asyncio.create_task(visits())
        return await task

    assert await flow() == ()


def test_functions_of_every_kind_return_their_default():
    @ags.optional(default=lambda draft, *, tone: f"{draft}, {tone}")
    def plain(draft: str, *, tone: str) -> str:
        call()
        raise AssertionError

    @ags.optional(default=3)
    async def coroutine() -> int:
        await asyncio.sleep(0)
        call()
        raise AssertionError

    @ags.optional(default="end")
    def generator() -> Generator[int, None, str]:
        yield 1
        call()
        yield 2
        return "not reached"

    @ags.optional
    async def async_generator() -> AsyncGenerator[int, None]:
        yield 1
        call()
        yield 2

    def collected() -> Iterator[object]:
        result = yield from generator()
        yield result

    async def body() -> None:
        assert plain("a draft", tone="calm") == "a draft, calm"
        assert await coroutine() == 3
        assert list(collected()) == [1, "end"]
        assert [item async for item in async_generator()] == [1]
        assert running().skipped == ("plain", "coroutine", "generator", "async_generator")

    asyncio.run(ags.workflow(body)())


def test_a_coroutine_or_generator_that_a_function_returns_is_part_of_it():
    async def work() -> str:
        call()
        raise AssertionError

    def items() -> Iterator[int]:
        yield 1
        call()

    async def async_items() -> AsyncIterator[int]:
        yield 1
        call()

    @ags.optional(name="work", default="left")
    def later() -> Coroutine[object, object, str]:
        return work()

    async def body() -> None:
        assert await later() == "left"
        assert list(ags.optional(name="items")(items)()) == [1]
        assert list(ags.optional(name="items")(lambda: items())()) == [1]
        assert [each async for each in ags.optional(name="items")(lambda: async_items())()] == [1]
        assert len(running().skipped) == 4

    asyncio.run(ags.workflow(body)())


def test_a_function_that_swallows_the_error_returns_its_default_too():
    @ags.optional(default="left")
    def critique() -> str:
        try:
            call()
        except ags.StepSkipped as error:
            return f"answer: {error}"
        return "done"

    assert in_a_run(critique) == "left"


def test_methods_of_every_kind_are_functions():
    class Critic:
        @ags.optional(default=lambda self, draft: (self, draft))
        def method(self, draft: str) -> object:
            call()

        @ags.optional(default="static")
        @staticmethod
        def static() -> None:
            call()

    critic = Critic()
    assert in_a_run(lambda: critic.method("d")) == (critic, "d")
    assert in_a_run(Critic.static) == "static"


async def test_async_blocks_and_tasks_inside_them():
    async def ask() -> None:
        call()

    @ags.workflow
    async def flow() -> bool:
        async with ags.step("critique", optional=True) as step:
            await asyncio.gather(ask(), ask())
        return step.skipped

    assert await flow()
    gc.collect()


def test_a_step_is_used_for_one_block_after_another():
    step = ags.step("critique", optional=True)

    def body() -> None:
        with step:
            call()
        assert step.skipped
        with step, pytest.raises(ags.ConfigError, match="in use"):
            step.__enter__()
        assert not step.skipped

    in_a_run(body)


@pytest.mark.parametrize("name", ["", "  ", 3])
def test_a_name_is_a_text(name):
    with pytest.raises(ags.ConfigError, match="step: not a name"):
        ags.step(name, optional=True)
    with pytest.raises(ags.ConfigError, match="step: not a name"):
        ags.optional(name=name)(lambda: None)


@pytest.mark.parametrize("wrong", [3, "critique", dict])
def test_only_functions_are_optional(wrong):
    with pytest.raises(ags.ConfigError, match="optional: not a function"):
        ags.optional(wrong)


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(ags.StepSkipped("critique", "no time", "critique#0")))
    assert (error.step, error.why, error.visit) == ("critique", "no time", "critique#0")
    assert str(error) == "the optional step 'critique' is left out: no time"
