"""Adapters tell what a framework knows of a workflow before its first call."""

import logging
from collections.abc import Callable
from weakref import finalize

from agentsched.core.records import StructureTold
from agentsched.core.structure import WorkflowStructure
from agentsched.errors import AgentschedError
from agentsched.workflow.scope import current_run

__all__ = ["tell_structure"]

_log = logging.getLogger("agentsched")
_read: dict[int, WorkflowStructure | None] = {}
"""By identity, for many of these objects cannot be hashed; an entry goes with its object."""


def tell_structure(source: object, read: Callable[[], WorkflowStructure | None]) -> WorkflowStructure | None:
    """Tell the keeper of the current run how its workflow is built; does nothing outside a run.

    To be called where a framework starts to execute, not at its model calls: reading may take a millisecond, once.

    Args:
        source: the framework's object, e.g. a compiled graph; it is read once and not kept alive.
        read: reads it; None: it says nothing. What it does not find there is reported and does no harm.

    Returns:
        What was told, or None.
    """
    run = current_run()
    if run is None or run.runtime is None:
        return None
    key = id(source)
    if key not in _read:
        _read[key] = _careful(source, read)
        finalize(source, _read.pop, key, None).atexit = False
    structure = _read.get(key)
    if structure is not None:
        run.runtime.emit(StructureTold(run.workflow, structure))
    return structure


def _careful(source: object, read: Callable[[], WorkflowStructure | None]) -> WorkflowStructure | None:
    try:
        return read()
    except (AgentschedError, AttributeError, LookupError, TypeError, ValueError) as error:
        # An object of a version, or a subclass, that the adapter does not know; forecasts go on without it.
        _log.warning("the structure of a %s cannot be read: %r", type(source).__name__, error)
        return None
