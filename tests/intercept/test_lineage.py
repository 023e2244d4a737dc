import asyncio
import contextvars

import pytest

from agentsched.errors import EndpointsUnavailable
from agentsched.intercept.lineage import Lineage, lineage_of
from tests.intercept.fakes import chat_chunks, inside

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Story:
    """Calls of one run; each branch executes in a context of its own, copied from its starter's."""

    def __init__(self):
        self.lineage, self.parents, self.now = Lineage(started_at=100.0), {}, 100.0

    def ask(self, *calls):
        for call in calls:
            self.parents[call], self.waited = self.lineage.begin(call, self.now)

    def answer(self, *calls):
        for call in calls:
            self.lineage.end(call, self.now, answered=True)


def branch(step, *arguments):
    contextvars.copy_context().run(step, *arguments)


def test_one_after_the_other():
    story = Story()
    for call in "abc":
        story.ask(call)
        story.answer(call)
    assert story.parents == {"a": (), "b": ("a",), "c": ("b",)}


def test_fan_out_and_join():
    story = Story()
    story.ask("plan")
    story.answer("plan")
    branch(story.ask, "r1")
    branch(story.ask, "r2")
    story.answer("r2")
    branch(story.ask, "r3")
    story.answer("r1", "r3")
    branch(story.ask, "write")
    assert story.parents["r1"] == story.parents["r2"] == story.parents["r3"] == ("plan",)
    assert set(story.parents["write"]) == {"r1", "r2", "r3"}


def test_branches_do_not_take_each_others_answers():
    story = Story()

    def chain(first, second):
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
    story.ask("join")
    assert story.parents == {"a1": (), "b1": (), "a2": ("a1",), "b2": ("b1",), "join": ("a2", "b2")}


def test_a_failed_call_is_nobodys_parent():
    story = Story()
    story.ask("a")
    story.answer("a")
    story.ask("failed")
    story.lineage.end("failed", story.now, answered=False)
    story.ask("again")
    assert story.parents["again"] == ("a",)


def test_tool_time():
    story = Story()
    story.now = 103.0
    story.ask("a")
    assert story.waited == 3.0
    story.now = 110.0
    story.answer("a")
    story.now = 112.5
    story.ask("b")
    assert story.waited == 2.5
    story.now = 111.0  # another thread's clock reading may be older
    story.ask("c")
    assert story.waited == 1.0


def test_each_run_has_its_own(new_run):
    run = new_run()
    assert lineage_of(run) is lineage_of(run)
    assert lineage_of(run) is not lineage_of(new_run())


def test_calls_tell_their_parents(sync_client, dispatcher, new_run):
    with inside(new_run()) as run:
        sync_client.chat.completions.create(**ASK)
        dispatcher.stream(*chat_chunks("a"))
        list(sync_client.chat.completions.create(**ASK, stream=True))
        sync_client.chat.completions.create(**ASK, stream=True).close()
        sync_client.chat.completions.create(**ASK, stream=True)
    ids = [call.call_id for call in dispatcher.calls]
    assert ids == [f"{run.run_id}-{index}" for index in range(4)]
    assert [call.parents for call in dispatcher.calls] == [(), (ids[0],), (ids[1],), (ids[1],)]


async def test_calls_without_an_answer_do_not_run_on(async_client, dispatcher, new_run):
    """Else every later call would be taken for a branch beside them."""

    async def cancelled(call, exchange):
        raise asyncio.CancelledError

    with inside(new_run()) as run:
        for answer in (EndpointsUnavailable("down"), cancelled):
            dispatcher.answer = answer
            with pytest.raises((EndpointsUnavailable, asyncio.CancelledError)):
                await async_client.chat.completions.create(**ASK)
        assert not lineage_of(run)._running
