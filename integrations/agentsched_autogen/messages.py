"""A run travels with the messages that are sent in it: a runtime started elsewhere works for it all the same."""

import functools
import uuid
from collections.abc import Callable
from typing import Any

from agentsched.workflow.carry import Carried
from agentsched.workflow.frame import current_frame
from agentsched.workflow.replacing import ReplacedMethod
from agentsched.workflow.scope import current_run
from agentsched.workflow.steps import current_step

__all__ = ["delivering", "sending"]


class _StampedId(str):
    """A message's id that knows where the message was sent. It goes with its envelope and is forgotten with it."""

    __slots__ = ("place",)

    place: Carried


def sending(replaced: ReplacedMethod, original: Callable[..., Any]) -> object:
    """Around ``send_message`` and ``publish_message`` of the runtime: the message's id gets a stamp.

    Messages that are sent outside any run are stamped as well: a runtime started in a run does not work for that run
    when somebody else asks it.
    """

    @functools.wraps(original)
    async def send(runtime: Any, message: Any, *args: Any, message_id: str | None = None, **options: Any) -> Any:
        if replaced.on:
            message_id = _StampedId(uuid.uuid4() if message_id is None else message_id)
            run = current_run()
            step = None if run is None else current_step(run)
            message_id.place = Carried(current_frame()._replace(inherited_step=step))
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
        with message_id.place.as_part_of(current_frame().strand).applied():
            return await original(agent, message, ctx)

    return on_message
