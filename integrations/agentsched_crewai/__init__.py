"""Tells agentsched which CrewAI task and agent a model call comes from, and how a crew is built.

Found through the entry point group ``agentsched.adapters``: a decorated run installs it, nobody needs to call it.
"""

from agentsched_crewai.adapter import install
from agentsched_crewai.naming import current_step

__all__ = ["current_step", "install"]
