"""A run travels with the messages that are sent in it: a runtime started elsewhere works for it all the same."""

import asyncio
import functools
import logging
import types
import uuid
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from agentsched.workflow.cutoff import Cutoff
from agentsched.workflow.frame import Frame, current_frame, enter_frame, leave_frame
from agentsched.workflow.lifetime import raise_alone
from agentsched.workflow.replacing import ReplacedMethod
from agentsched.workflow.scope import current_run
from agentsched.workflow.steps import current_step

__all__ = ["delivering", "sending"]


_log = logging.getLogger("agentsched")


class _StampedId(str):
    """A message's id that knows where the message was sent. It goes with its envelope and is forgotten with it."""

    __slots__ = ("given_up", "place")

    place: Frame
    given_up: bool
    """Whether its sender was cancelled while it waited for the answer."""


def sending(replaced: ReplacedMethod, original: Callable[..., Any]) -> object:
    """Around ``send_message`` and ``publish_message`` of the runtime: the message's id gets a stamp.

    Messages that are sent outside any run are stamped as well: a runtime started in a run does not work for that run
    when somebody else asks it.
    """

    @functools.wraps(original)
    async def send(runtime: Any, message: Any, *args: Any, message_id: str | None = None, **options: Any) -> Any:
        if replaced.on:
            message_id = _StampedId(uuid.uuid4() if message_id is None else message_id)
            message_id.given_up = False
            run = current_run()
            step = None if run is None else current_step(run)
            message_id.place = current_frame()._replace(inherited_step=step)
            try:
                return await original(runtime, message, *args, message_id=message_id, **options)
            except asyncio.CancelledError:
                message_id.given_up = True
                raise
        return await original(runtime, message, *args, message_id=message_id, **options)

    return send


def delivering(replaced: ReplacedMethod, original: Callable[..., Any]) -> object:
    """Around ``on_message`` of agents: they handle a message where it was sent."""

    @functools.wraps(original)
    async def on_message(agent: Any, message: Any, ctx: Any) -> Any:
        message_id = ctx.message_id
        if not replaced.on or not isinstance(message_id, _StampedId):
            return await original(agent, message, ctx)
        # Who sent the message has gone on since: what its handler goes on from is known where that was started.
        token = enter_frame(message_id.place._replace(strand=current_frame().strand, asked=None))
        try:
            return await _in_time(original(agent, message, ctx))
        except Exception:
            await asyncio.sleep(0)  # who is being cancelled at this very moment shall know it
            if not message_id.given_up:
                raise
            # The runtime of AutoGen 0.7 fails over telling it to a sender who does not wait any more, never counts the
            # message as done, and the team waits for that for ever.
            _log.info("nobody waits any more for what failed here", exc_info=True)
        finally:
            leave_frame(token)

    return on_message


@types.coroutine
def _in_time(handling: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Handle a message no longer than the run lasts: a team that is cancelled waits for all its agents' handlers.

    The clock is set when the handler begins to wait for something, which most handlers never do.
    """
    run = current_run()
    if run is None or run.limit_at is None:
        return (yield from handling.__await__())
    try:
        awaited = handling.send(None)
    except StopIteration as ended:
        return ended.value
    cutoff = Cutoff(run.limit_at - run.clock(), lambda: run.remember_error(run.clock()))
    try:
        answer = yield from _rest_of(handling, awaited)
    except BaseException as error:
        if cutoff.disarm(error) and run.error is not None:
            raise_alone(run.error)
        raise
    cutoff.disarm(None)
    return answer


def _rest_of(handling: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, Any]:
    """What ``yield from`` does with a coroutine that has begun to wait (PEP 380)."""
    try:
        while True:
            try:
                sent = yield awaited
            except BaseException as error:  # noqa: BLE001  # thrown in by the loop: the handler's to see
                awaited = handling.throw(error)
            else:
                awaited = handling.send(sent)
    except StopIteration as ended:
        return ended.value
