"""Tells agentsched which LangGraph node a model call comes from, and how a graph is built.

Found through the entry point group ``agentsched.adapters``: a decorated run installs it, nobody needs to call it. For
those who prefer an explicit way there are `ChatAgentsched` and `DeadlineMiddleware`, loaded when they are asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from agentsched_langgraph.adapter import install
from agentsched_langgraph.naming import current_node

if TYPE_CHECKING:
    from agentsched_langgraph.chat_model import ChatAgentsched
    from agentsched_langgraph.middleware import DeadlineMiddleware

__all__ = ["ChatAgentsched", "DeadlineMiddleware", "current_node", "install"]

_LAZY = {"ChatAgentsched": "chat_model", "DeadlineMiddleware": "middleware"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
