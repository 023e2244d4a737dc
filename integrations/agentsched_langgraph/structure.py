"""What a compiled graph says of itself: nodes, edges, conditions, fan-outs, joins, subgraphs."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, get_type_hints

from agentsched.core.structure import EdgeKind, StructureEdge, WorkflowStructure
from agentsched.workflow.replacing import ReplacedMethod
from agentsched.workflow.structure import tell_structure
from agentsched_langgraph.naming import current_node

__all__ = ["graph_structure", "telling_structure"]

_START, _END = "__start__", "__end__"
_DEEPEST = 8


def telling_structure(replaced: ReplacedMethod, original: Callable[..., Any]) -> object:
    """Around ``Pregel.stream`` and ``astream``, which every way of running a graph goes through.

    A graph that runs inside a node is part of the graph around it.
    """

    @wraps(original)
    def stream(graph: Any, *args: Any, **options: Any) -> Any:
        if replaced.on and current_node() is None:
            tell_structure(graph, lambda: graph_structure(graph))
        return original(graph, *args, **options)

    return stream


def graph_structure(graph: Any) -> WorkflowStructure | None:
    """The structure of a compiled graph; None for one that was not built from nodes and edges (the functional API).

    A conditional edge may lead to any node if neither a path map nor a ``Literal`` says where. It is a fan-out if its
    function says that it returns ``Send``. A node whose edges come from several others is a join if an edge waits for
    all of them, and so is what follows a fan-out. A subgraph that is a node appears as its own nodes, named behind it.
    """
    reading = _Reading()
    ports = reading.read(graph, "", 0)
    if ports is None:
        return None
    return WorkflowStructure(
        framework="langgraph",
        nodes=tuple(reading.nodes),
        edges=tuple(reading.edges),
        entry=tuple(dict.fromkeys(name for name, _ in ports[0])),
        ends=tuple(dict.fromkeys(ports[1])),
        joins=tuple(reading.joins),
    )


_Ports = tuple[list[tuple[str, EdgeKind]], list[str]]
"""The nodes that a (sub)graph begins with, and how it comes to them; the nodes after which it may be over."""


class _Reading:
    def __init__(self) -> None:
        self.nodes: dict[str, None] = {}
        self.edges: dict[StructureEdge, None] = {}
        self.joins: dict[str, None] = {}

    def read(self, graph: Any, prefix: str, depth: int) -> _Ports | None:
        """Add a graph's nodes and edges, its subgraphs' included."""
        builder = getattr(graph, "builder", None)
        if builder is None or depth > _DEEPEST:
            return None
        inner = dict(graph.get_subgraphs())
        ports: dict[str, _Ports] = {}
        for name, node in builder.nodes.items():
            ports[name] = self._read_node(f"{prefix}{name}", node, inner.get(name), depth)
        begins: list[tuple[str, EdgeKind]] = []
        ends: dict[str, None] = {}
        for source, target, kind in _edges(builder):
            if source == _START and target != _END:
                begins += [(name, _either(kind, inside)) for name, inside in ports[target][0]]
            elif target == _END:
                ends |= dict.fromkeys(ports[source][1] if source != _START else ())
            else:
                self._link(ports[source], ports[target], kind)
        self._find_joins(builder, ports)
        followed = {source for source, _, _ in _edges(builder)}
        for name in builder.nodes:
            if name not in followed:
                ends |= dict.fromkeys(ports[name][1])
        return begins, list(ends)

    def _read_node(self, path: str, node: Any, inner: Any, depth: int) -> _Ports:
        inside = None if inner is None else self.read(inner, f"{path}/", depth + 1)
        if inside is not None and hasattr(node.runnable, "builder"):
            return inside  # the node is the subgraph
        self.nodes[path] = None
        if inside is None:
            return [(path, EdgeKind.PLAIN)], [path]
        for name, _ in inside[0]:  # the node's function may call it
            self.edges[StructureEdge(path, name, EdgeKind.CONDITIONAL)] = None
        for name in inside[1]:
            self.edges[StructureEdge(name, path, EdgeKind.CONDITIONAL)] = None
        return [(path, EdgeKind.PLAIN)], [path, *inside[1]]

    def _link(self, source: _Ports, target: _Ports, kind: EdgeKind) -> None:
        for before in source[1]:
            for after, inside in target[0]:
                self.edges[StructureEdge(before, after, _either(kind, inside))] = None

    def _find_joins(self, builder: Any, ports: dict[str, _Ports]) -> None:
        """What waits for several nodes by an edge of its own or is deferred, and what follows a fan-out's branches."""
        beside = {target for _, target, kind in _edges(builder) if kind is EdgeKind.FAN_OUT}
        joins = [target for _, target in builder.waiting_edges]
        joins += [target for source, target, kind in _edges(builder) if source in beside and kind is EdgeKind.PLAIN]
        joins += [name for name, node in builder.nodes.items() if node.defer]
        for name in joins:
            if name != _END:
                self.joins |= dict.fromkeys(first for first, _ in ports[name][0])


def _either(outside: EdgeKind, inside: EdgeKind) -> EdgeKind:
    return inside if outside is EdgeKind.PLAIN else outside


def _edges(builder: Any) -> list[tuple[str, str, EdgeKind]]:
    found = [(source, target, EdgeKind.PLAIN) for source, target in sorted(builder.edges)]
    found += [
        (source, target, EdgeKind.PLAIN) for sources, target in sorted(builder.waiting_edges) for source in sources
    ]
    everywhere = [*builder.nodes, _END]
    for source, branches in builder.branches.items():
        for branch in branches.values():
            kind = EdgeKind.FAN_OUT if _sends(branch.path) else EdgeKind.CONDITIONAL
            targets: Iterable[str] = everywhere if branch.ends is None else branch.ends.values()
            found += [(source, target, kind if target != _END else EdgeKind.CONDITIONAL) for target in targets]
    for source, node in builder.nodes.items():
        # Where a node's function says that it returns ``Command[Literal[...]]``.
        found += [(source, target, EdgeKind.CONDITIONAL) for target in node.ends or ()]
    return list(dict.fromkeys(found))


def _unread_annotations(function: Any) -> Mapping[str, Any]:
    """A function's annotations without looking up the names in them."""
    try:
        reading = importlib.import_module("annotationlib")  # from Python 3.14 on, where reading looks them up
    except ModuleNotFoundError:
        return getattr(function, "__annotations__", {})
    return reading.get_annotations(function, format=reading.Format.STRING) if callable(function) else {}


def _sends(path: Any) -> bool:
    """Whether a branch's function says that it returns ``Send``."""
    function = getattr(path, "func", None) or getattr(path, "afunc", None) or path
    try:
        returned = get_type_hints(function).get("return")
    except (NameError, TypeError):  # names that exist for type checkers only; something callable without hints
        returned = _unread_annotations(function).get("return")
    return "Send" in str(returned).replace("[", " ").replace("]", " ").replace(".", " ").replace("'", " ").split()
