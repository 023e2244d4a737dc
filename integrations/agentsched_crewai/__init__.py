"""Tells agentsched which CrewAI task and agent a model call comes from, and how a crew is built.

Found through the entry point group ``agentsched.adapters``: a decorated run installs it, nobody needs to call it. For
those who prefer an explicit way there is `ScheduledLLM`, loaded when it is asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from agentsched_crewai.adapter import install
from agentsched_crewai.naming import current_step

if TYPE_CHECKING:
    from agentsched_crewai.llm import ScheduledLLM

__all__ = ["ScheduledLLM", "current_step", "install"]


def __getattr__(name: str) -> Any:
    if name == "ScheduledLLM":
        return importlib.import_module("agentsched_crewai.llm").ScheduledLLM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
