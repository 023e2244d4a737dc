"""Tells agentsched which AutoGen agent a model call comes from, and how a team is built.

Found through the entry point group ``agentsched.adapters``: a decorated run installs it, nobody needs to call it.
"""

from agentsched_autogen.adapter import install
from agentsched_autogen.naming import current_step

__all__ = ["current_step", "install"]
