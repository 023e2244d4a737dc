"""What a flow says of itself before it starts: which of its methods listens to which."""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from agentsched.core.nested import opened
from agentsched.core.structure import EdgeKind, StructureEdge, WorkflowStructure
from agentsched_crewai.naming import flow_method

__all__ = ["AROUND", "flow_structure", "within_flow"]

AROUND: ContextVar[WorkflowStructure | None] = ContextVar("agentsched_crewai_flow", default=None)
"""The structure of the flow that is executing."""

_AND, _OR = "and", "or"


def within_flow(read: Callable[[], WorkflowStructure | None]) -> Callable[[], WorkflowStructure | None]:
    """What reads a crew's structure, as a part of the flow whose method starts the crew, if one does."""
    flow, method = AROUND.get(), flow_method()

    def read_whole() -> WorkflowStructure | None:
        crew = read()
        if crew is None or flow is None or method not in flow.nodes:
            return crew
        return opened(flow, method, crew)

    return read_whole


def flow_structure(kind: Any) -> WorkflowStructure | None:
    """The structure of a class of flows; None for one without methods.

    A method that listens to several with ``and_`` is their join. What a router says decides what follows it; where it
    does not declare what that may be, anything that listens to no method may. How many calls a method makes is unknown.
    """
    methods = kind.flow_definition().methods
    if not methods:
        return None
    edges: dict[StructureEdge, None] = {}
    joins: list[str] = []
    for name, method in methods.items():
        for condition in (method.listen, method.start):
            for alternative in _alternatives(condition):
                together = [source for text in alternative for source in _sources(methods, text, name)]
                edges.update(dict.fromkeys(together))
                if len(alternative) > 1:
                    joins.append(name)
    sources = {edge.source for edge in edges}
    routers = {edge.source for edge in edges if edge.kind is EdgeKind.CONDITIONAL}
    return WorkflowStructure(
        framework="crewai",
        nodes=tuple(methods),
        edges=tuple(edges),
        entry=tuple(name for name, method in methods.items() if method.is_start),
        ends=tuple(name for name in methods if name not in sources or name in routers),
        joins=tuple(dict.fromkeys(joins)),
    )


def _alternatives(condition: Any) -> Iterator[list[str]]:
    """The names of methods, and words of routers, that have to come together: any of these lists is enough."""
    if isinstance(condition, str):
        yield [condition]
    elif isinstance(condition, Mapping):
        if _AND in condition:
            yield list(_names(condition))
        else:
            for each in condition.get(_OR, ()):
                yield from _alternatives(each)


def _names(condition: Any) -> Iterator[str]:
    if isinstance(condition, str):
        yield condition
    else:
        for each in (*condition.get(_AND, ()), *condition.get(_OR, ())):
            yield from _names(each)


def _sources(methods: Mapping[str, Any], text: str, target: str) -> Iterator[StructureEdge]:
    """Who makes ``target`` start: the method of that name, or the routers that may say that word."""
    if text in methods:
        yield StructureEdge(text, target)
        return
    for name, method in methods.items():
        if method.router and name != target and text in (_words(method) or (text,)):
            yield StructureEdge(name, target, EdgeKind.CONDITIONAL)


def _words(router: Any) -> list[str]:
    """What a router may say; empty: it does not declare it."""
    feedback = router.human_feedback
    return [str(word) for word in ((feedback.emit if feedback is not None else None) or router.emit or ())]
