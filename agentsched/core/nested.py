"""Programs in programs: the structure of the outer one, with a step replaced by what that is made of."""

from collections.abc import Iterable
from dataclasses import replace

from agentsched.core.structure import EdgeKind, StructureEdge, WorkflowStructure

__all__ = ["opened", "summed_up"]


def opened(outer: WorkflowStructure, name: str, inner: WorkflowStructure) -> WorkflowStructure:
    """The structure of a program whose step ``name`` is a program itself: a team in a team, a crew in a flow's method.

    What led to it leads to where that begins, and what followed it follows where that may end. How often its steps come
    in all is unknown, and with it the most steps of the whole. Steps of the same name are one, as in a run.

    Args:
        outer: the structure of the whole.
        name: the step of it that is opened.
        inner: the structure of that one.
    """
    edges = dict.fromkeys(
        StructureEdge(source, target, _kind(edge, source, inner) if edge.source == name else edge.kind)
        for edge in outer.edges
        for source in _instead(edge.source, name, inner.ends)
        for target in _instead(edge.target, name, inner.entry)
    )
    calls = {**outer.calls, **inner.calls}
    nodes = _all(outer.nodes, name, inner.nodes)
    return replace(
        outer,
        nodes=nodes,
        edges=tuple(dict.fromkeys([*edges, *inner.edges])),
        entry=_all(outer.entry, name, inner.entry),
        ends=_all(outer.ends, name, inner.ends),
        joins=tuple(dict.fromkeys([*_all(outer.joins, name, inner.entry), *inner.joins])),
        bounds={step: bound for step, bound in outer.bounds.items() if step != name and step not in inner.nodes},
        calls={step: count for step, count in calls.items() if step in nodes},
        max_steps=None,
    )


def summed_up(inner: WorkflowStructure, name: str) -> WorkflowStructure:
    """The structure of an agent that lets a team speak and then sums up, with one call in its own step ``name``."""
    more = [StructureEdge(end, name, _kind(None, end, inner)) for end in inner.ends if end != name]
    return replace(
        inner,
        nodes=_all(inner.nodes, name, (name,)) if name in inner.nodes else (*inner.nodes, name),
        edges=tuple(dict.fromkeys([*inner.edges, *more])),
        ends=(name,),
        calls={**inner.calls, name: 1},
        bounds={},
        max_steps=None,
    )


def _kind(edge: StructureEdge | None, source: str, inner: WorkflowStructure) -> EdgeKind:
    """Of an edge out of the inner structure: taken only if that does not go on itself."""
    if inner.after(source):
        return EdgeKind.CONDITIONAL
    return EdgeKind.PLAIN if edge is None else edge.kind


def _instead(step: str, name: str, others: tuple[str, ...]) -> tuple[str, ...]:
    return others if step == name else (step,)


def _all(steps: Iterable[str], name: str, others: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for step in steps for each in _instead(step, name, others)))
