"""Work that is done while its result is read belongs to the run that made it, and the run waits for it."""

import asyncio
import gc

import pytest

import agentsched as ags
from agentsched.workflow import scope
from agentsched.workflow.holding import held_generator


class Output:
    """A framework's result: it hides the iterator in which its work is done."""

    def __init__(self, items):
        self.items = items


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(scope, "default_clock", lambda: now[0])
    return now


def seen(count=2):
    for _ in range(count):
        yield ags.current()


async def aseen():
    for run in seen():
        yield run


@ags.workflow(slo="30s")
def output(make):
    return ags.current(), Output(held_generator(make()))


def test_it_is_done_in_the_run_and_ends_it():
    run, made = output(seen)
    assert ags.current() is None
    assert [(item, ags.current(), run.finished) for item in made.items] == [(run, None, False)] * 2
    assert (run.finished, run.outcome) == (True, "ok")


async def test_also_asynchronously():
    run, made = output(aseen)
    assert [(item, ags.current(), run.finished) async for item in made.items] == [(run, None, False)] * 2
    assert (run.finished, run.outcome) == (True, "ok")


@pytest.mark.parametrize("how", ["closed", "half read and closed", "forgotten", "half read and forgotten"])
def test_what_is_not_read_to_its_end_does_not_keep_the_run_open(how):
    run, made = output(seen)
    if how.startswith("half"):
        next(made.items)
    if how.endswith("closed"):
        made.items.close()
    del made
    gc.collect()
    assert run.finished


def test_several_results_keep_it_open_together():
    @ags.workflow
    def run():
        return ags.current(), [held_generator(seen()) for _ in range(2)]

    made, (first, second) = run()
    list(first)
    assert not made.finished
    list(second)
    assert made.finished


def test_once_the_time_is_spent_it_raises_the_runs_error_whatever_it_was_made_into(clock):
    def late():
        yield 1
        clock[0] += 60
        try:
            ags.check()
        except ags.DeadlineExceeded as error:
            raise RuntimeError("a framework's own") from error

    run, made = output(late)
    assert next(made.items) == 1
    with pytest.raises(ags.DeadlineExceeded) as raised:
        next(made.items)
    assert raised.value.run_id == run.run_id
    assert (raised.value.__cause__, raised.value.__context__) == (None, None)
    assert run.outcome == "deadline"


async def test_an_asynchronous_one_is_cut_at_the_deadline():
    @ags.workflow(slo="0.05s")
    def run():
        async def silent():
            yield 1
            await asyncio.Event().wait()

        return ags.current(), Output(held_generator(silent()))

    made, result = run()
    with pytest.raises(ags.DeadlineExceeded):
        [item async for item in result.items]
    assert made.outcome == "deadline"


def test_an_error_of_its_own_is_handed_on():
    def broken():
        yield 1
        raise ValueError("broken")

    run, made = output(broken)
    with pytest.raises(ValueError, match="broken"):
        list(made.items)
    assert run.finished


def test_what_is_no_generator_and_what_is_in_no_run_stays_as_it_is():
    items = seen()
    assert held_generator(items) is items
    items.close()
    with ags.deadline("1s"):
        assert held_generator([1]) == [1]
        assert held_generator(None) is None
