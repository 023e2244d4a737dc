"""Tells agentsched which LangGraph node a model call comes from, and how a graph is built.

Found through the entry point group ``agentsched.adapters``: a decorated run installs it, nobody needs to call it.
"""

from agentsched_langgraph.adapter import install
from agentsched_langgraph.naming import current_node

__all__ = ["current_node", "install"]
