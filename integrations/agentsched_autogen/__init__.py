"""Tells agentsched which AutoGen agent a model call comes from, and how a team is built.

Found through the entry point group ``agentsched.adapters``: a decorated run installs it, nobody needs to call it. For
those who prefer an explicit way there is `ScheduledChatCompletionClient`, loaded when it is asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from agentsched_autogen.adapter import install
from agentsched_autogen.naming import current_step

if TYPE_CHECKING:
    from agentsched_autogen.client import ScheduledChatCompletionClient

__all__ = ["ScheduledChatCompletionClient", "current_step", "install"]


def __getattr__(name: str) -> Any:
    if name == "ScheduledChatCompletionClient":
        return importlib.import_module("agentsched_autogen.client").ScheduledChatCompletionClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
