"""What a team says of itself before it starts: who takes part, who may follow whom, how often."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from agentsched.core.structure import EdgeKind, StructureEdge, WorkflowStructure
from agentsched.workflow.replacing import ReplacedMethod

__all__ = ["remembering", "team_structure"]

_ORDERED = "RoundRobinGroupChat"
_CHOSEN = ("SelectorGroupChat", "MagenticOneGroupChat")
_built: WeakKeyDictionary[Any, Mapping[str, Any]] = WeakKeyDictionary()


def remembering(replaced: ReplacedMethod, original: Callable[..., None]) -> object:
    """Around the constructor of a team: keeps what it was built from, for teams have no public way to ask."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def init(team: Any, *args: Any, **options: Any) -> None:
        original(team, *args, **options)
        if replaced.on:
            given = signature.bind(team, *args, **options)
            given.apply_defaults()
            _built.setdefault(team, given.arguments)

    return init


def team_structure(team: Any) -> WorkflowStructure | None:
    """The structure of a team: None if nothing can be known of it.

    Participants of a round-robin team follow each other in a circle; in a selector team, and under Magentic-One, the
    manager asks a model before each of them; in a swarm anybody may hand over to anybody; a ``GraphFlow`` has a graph.
    ``max_turns`` bounds the participants' turns.
    """
    kind = type(team).__name__
    built = _built.get(team)
    names, graph, max_turns = _from_component(team) if built is None else _from_arguments(built)
    if not names:
        return None
    if graph is not None:
        return _of_graph(graph, max_turns)
    if kind == _ORDERED:
        return _in_a_circle(names, max_turns)
    if kind in _CHOSEN:
        return _by_choice(
            f"{kind}Manager" if kind == "SelectorGroupChat" else "MagenticOneOrchestrator", names, max_turns
        )
    return _anybody(names, max_turns)


def _from_arguments(built: Mapping[str, Any]) -> tuple[list[str], Any, int | None]:
    graph = built.get("graph")
    names = [member.name for member in built["participants"]]
    return names, None if graph is None else _plain_data(graph), built.get("max_turns")


def _plain_data(graph: Any) -> dict[str, Any]:
    """A ``DiGraph`` as it serialises itself, but with the conditions that are functions."""
    data: dict[str, Any] = graph.model_dump()
    for name, node in graph.nodes.items():
        for edge, copy in zip(node.edges, data["nodes"][name]["edges"], strict=True):
            copy["condition"] = edge.condition or edge.condition_function
    return data


def _from_component(team: Any) -> tuple[list[str], Any, int | None]:
    """What a team that was built before the adapter went in says when it is asked to serialise itself."""
    try:
        config = team.dump_component().config
    except Exception:  # noqa: BLE001  # the code of every participant, tool and client: whatever it raises, it cannot
        return [], None, None
    names = [member["config"].get("name") for member in config.get("participants", ())]
    return [name for name in names if name], config.get("graph"), config.get("max_turns")


def _in_a_circle(names: list[str], max_turns: int | None) -> WorkflowStructure:
    following = zip(names, [*names[1:], names[0]], strict=True)
    edges = tuple(StructureEdge(before, after, EdgeKind.CONDITIONAL) for before, after in following)
    turns = {} if max_turns is None else {name: -(-(max_turns - n) // len(names)) for n, name in enumerate(names)}
    return _team(names, edges, entry=names[:1], ends=names, bounds=turns, max_turns=max_turns)


def _by_choice(manager: str, names: list[str], max_turns: int | None) -> WorkflowStructure:
    edges = [StructureEdge(manager, name, EdgeKind.CONDITIONAL) for name in names]
    edges += [StructureEdge(name, manager, EdgeKind.CONDITIONAL) for name in names]
    steps = None if max_turns is None else 2 * max_turns
    return _team([manager, *names], edges, entry=[manager], ends=[manager, *names], bounds={}, max_turns=steps)


def _anybody(names: list[str], max_turns: int | None) -> WorkflowStructure:
    edges = [StructureEdge(before, after, EdgeKind.CONDITIONAL) for before in names for after in names]
    return _team(names, edges, entry=names[:1], ends=names, bounds={}, max_turns=max_turns)


def _of_graph(graph: Mapping[str, Any], max_turns: int | None) -> WorkflowStructure:
    edges: dict[StructureEdge, None] = {}
    joins: dict[str, None] = {}
    sources: dict[str, set[str]] = {}
    ends: list[str] = []
    edges_of = {name: node.get("edges") or [] for name, node in graph["nodes"].items()}  # what is empty is left out
    for name in edges_of:
        # AutoGen wants the edges of a node to be all conditional or none: one that lost its function is no exception.
        conditional = any(edge.get("condition") for edge in edges_of[name])
        if conditional or not edges_of[name]:
            ends.append(name)
        for edge in edges_of[name]:
            kind = EdgeKind.CONDITIONAL if conditional else EdgeKind.PLAIN
            edges[StructureEdge(name, edge["target"], kind)] = None
            sources.setdefault(edge["target"], set()).add(name)
            if "any" not in (edge.get("activation_condition"), graph["nodes"][edge["target"]].get("activation")):
                joins[edge["target"]] = None
    starts = [graph["default_start_node"]] if graph.get("default_start_node") else set(graph["nodes"]) - set(sources)
    return _team(
        list(edges_of),
        edges,
        entry=[name for name in edges_of if name in starts],
        ends=ends,
        joins=[name for name in joins if len(sources[name]) > 1],
        bounds={},
        max_turns=max_turns,
    )


def _team(
    nodes: list[str],
    edges: Iterable[StructureEdge],
    *,
    entry: list[str],
    ends: list[str],
    bounds: Mapping[str, int],
    max_turns: int | None,
    joins: Iterable[str] = (),
) -> WorkflowStructure:
    return WorkflowStructure(
        framework="autogen",
        nodes=tuple(nodes),
        edges=tuple(edges),
        entry=tuple(entry),
        ends=tuple(ends),
        joins=tuple(joins),
        bounds={name: max(0, count) for name, count in bounds.items()},
        max_steps=max_turns,
    )
