"""The step's name in an AutoGen program: the agent whose message handler, or ``run``, is executing."""

import sys
from contextvars import ContextVar
from typing import Any

from agentsched.workflow.adapting import NamedPlaces

__all__ = ["PLACES", "current_step", "name_of_run"]

PLACES = NamedPlaces(ContextVar("agentsched_autogen", default=None))
"""The agent whose ``run`` is executing: ``"<handler around it>\\n<name>"``."""

_MODULE = "autogen_core"
_SEPARATOR = "\n"


def current_step() -> str | None:
    """The agent that AutoGen is executing in the caller's context.

    ``"writer"`` for the participant of a team by that name, for an agent of the core runtime of that type, and for an
    agent whose ``run`` is executing; ``"SelectorGroupChatManager"`` while a team chooses who speaks next;
    ``"writer/critic"`` for an agent that is executed as a tool of another one. None outside any agent.
    """
    handler = _handler()
    place = PLACES.current()
    if place is None:
        return handler
    around, _, name = place.partition(_SEPARATOR)
    # A team that is executed inside an agent's run has handlers of its own.
    return name if handler is None or handler == around else handler


def name_of_run(outer: str | None, agent: Any, *_: Any, **__: Any) -> str | None:
    """The place of an agent's ``run`` and ``run_stream``."""
    handler = _handler() or ""
    around = current_step()
    if around is None:
        return f"{handler}{_SEPARATOR}{agent.name}"
    if around.rpartition("/")[2] == agent.name:
        return outer  # ``run_stream`` inside ``run``
    return f"{handler}{_SEPARATOR}{around}/{agent.name}"


def _handler() -> str | None:
    """The agent whose message handler is executing. Teams append their id, which is also the key, to the names."""
    context = getattr(sys.modules.get(_MODULE), "MessageHandlerContext", None)
    if context is None:
        return None
    try:
        agent_id = context.agent_id()
    except RuntimeError:
        return None
    name: str = agent_id.type
    return name.removesuffix(f"_{agent_id.key}")
