"""Puts the adapter in: which of LangGraph's public methods it stands around, and what it does there."""

from collections.abc import Callable, Iterator
from types import ModuleType

from agentsched.workflow.adapting import put_in_once, replace_on_import
from agentsched.workflow.replacing import ReplacedMethod
from agentsched.workflow.steps import register_step_source
from agentsched_langgraph.naming import current_node, current_task
from agentsched_langgraph.structure import telling_structure

__all__ = ["install"]


@put_in_once
def install() -> Callable[[], None]:
    """Name the steps of runs after LangGraph nodes, and tell the structure of graphs, from now on.

    Imports nothing: a program that never loads LangGraph pays for a look into `sys.modules` at each model call, and
    one that loads it inside the run is served from then on.

    Returns:
        A function that undoes it; calling it twice does no harm.
    """
    # A node may hold a crew or a team, whose steps are named then.
    undo_names = register_step_source(current_node, current_task, rank=1)
    undo_methods = replace_on_import({"langgraph.pregel": _of_pregel})

    def undo() -> None:
        undo_names()
        undo_methods()

    return undo


def _of_pregel(pregel: ModuleType) -> Iterator[ReplacedMethod]:
    for name in ("stream", "astream"):
        yield ReplacedMethod(pregel.Pregel, name, telling_structure)
