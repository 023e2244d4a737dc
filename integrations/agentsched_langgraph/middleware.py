"""A middleware for LangChain's agents: steps with a name of your own, and no work that comes too late."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from langchain.agents.middleware import AgentMiddleware

import agentsched

__all__ = ["DeadlineMiddleware"]


class DeadlineMiddleware(AgentMiddleware[Any, Any]):
    """Stops an agent between two calls once its run's time is spent, and names the agent's calls.

    A synchronous agent is otherwise only stopped at its next model call: with this it starts no tool either. Outside a
    run it does nothing.

    Args:
        step: the name of the agent's model calls, which forecasts, reserves and the log go by; None: the node's.

    Example:
        ``create_agent(model, tools, middleware=[DeadlineMiddleware(step="research")])``
    """

    def __init__(self, step: str | None = None) -> None:
        super().__init__()
        self._step = step

    def _named(self) -> AbstractContextManager[object]:
        return nullcontext() if self._step is None else agentsched.step(self._step)

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """See ``AgentMiddleware``.

        Raises:
            DeadlineExceeded: the run's time is spent.
        """
        with self._named():
            agentsched.check()
            return handler(request)

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """See `wrap_model_call`."""
        with self._named():
            agentsched.check()
            return await handler(request)

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """See ``AgentMiddleware``.

        Raises:
            DeadlineExceeded: the run's time is spent.
        """
        agentsched.check()
        return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """See `wrap_tool_call`."""
        agentsched.check()
        return await handler(request)
