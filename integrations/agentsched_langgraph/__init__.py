"""Tells agentsched which LangGraph node a model call comes from.

Found through the entry point group ``agentsched.adapters``: a decorated run installs it, nobody needs to call it.
"""

from agentsched_langgraph.naming import current_node, install

__all__ = ["current_node", "install"]
