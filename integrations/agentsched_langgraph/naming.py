"""The name of the LangGraph node that is executing, from the configuration that langchain-core carries along.

LangGraph puts the task it runs into a context variable of langchain-core, for its own use and that of callbacks. That
variable, and the metadata keys read here, are documented and the same in every LangGraph 1.x.
"""

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

__all__ = ["current_node", "current_task"]

_MODULE = "langchain_core.runnables.config"
_VARIABLE = "var_child_runnable_config"


def current_node() -> str | None:
    """The node that the caller is executed by: its name, behind those of the nodes around its subgraph.

    ``"plan"`` in a graph; ``"research/search"`` in node ``search`` of a graph that runs inside node ``research``, and
    likewise for a task of the functional API inside its entrypoint. All branches of a fan-out and all rounds of a
    loop have the same name. None outside any node.
    """
    metadata = _metadata()
    node = metadata.get("langgraph_node")
    if not isinstance(node, str):
        return None
    namespace = metadata.get("langgraph_checkpoint_ns")
    return _path(namespace, node) if isinstance(namespace, str) and "|" in namespace else node


def current_task() -> tuple[str, ...] | None:
    """The task in which the caller is executed, ids and all, behind those around its subgraph; None outside any."""
    namespace = _metadata().get("langgraph_checkpoint_ns")
    return tuple(namespace.split("|")) if isinstance(namespace, str) and namespace else None


def _metadata() -> Mapping[str, Any]:
    """What LangGraph says of the task that it is executing; nothing outside any."""
    module = sys.modules.get(_MODULE)
    variable: ContextVar[Any] | None = getattr(module, _VARIABLE, None)  # None while the module is still being loaded
    config = None if variable is None else variable.get()
    return (config.get("metadata") or {}) if config else {}


def _path(namespace: str, node: str) -> str:
    """``research:<task id>|1|search:<task id>`` -> ``research/search``: ids change from run to run, and a part that is
    a number counts the subgraphs that one task has called."""
    around = [part.split(":", 1)[0] for part in namespace.split("|")[:-1] if not part.isdigit()]
    return "/".join((*around, node))
