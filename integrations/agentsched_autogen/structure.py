"""What a team says of itself before it starts: who takes part, who may follow whom, how often."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from agentsched.core.nested import opened, summed_up
from agentsched.core.structure import EdgeKind, StructureEdge, WorkflowStructure
from agentsched_autogen.teams import MAGENTIC, ORDERED, SELECTOR, Team, known_of

__all__ = ["team_structure"]

_SELECTING, _ORCHESTRATING = "SelectorGroupChatManager", "MagenticOneOrchestrator"


def team_structure(team: Any) -> WorkflowStructure | None:
    """The structure of a team: None if nothing can be known of it.

    Participants of a round-robin team follow each other in a circle; in a selector team, and under Magentic-One, the
    manager asks a model before each of them; in a swarm anybody may hand over to anybody; a ``GraphFlow`` has a graph.
    A class of your own is taken for what it derives from, and a participant that is a team, or has one, for what that
    is made of. ``max_turns`` bounds the participants' turns; how often Magentic-One's orchestrator asks between two of
    them is its own affair, so nothing bounds that team's calls. How many calls a turn makes is known of assistant
    agents: one, and with tools one per round and one that sums up.
    """
    return _of_team(known_of(team))


def _of_team(team: Team) -> WorkflowStructure | None:
    if not team.names:
        return None
    if team.graph is not None:
        found = _of_graph(team, team.graph)
    elif team.kind == ORDERED:
        found = _in_a_circle(team)
    elif team.kind == SELECTOR:
        found = _by_choice(team, _SELECTING, {_SELECTING: team.attempts} if team.attempts else {})
    elif team.kind == MAGENTIC:
        found = _by_choice(team, _ORCHESTRATING, {})
    else:
        found = _anybody(team)
    for name, each in team.inner.items():
        inner = _of_team(each)
        if inner is not None:
            found = opened(found, name, summed_up(inner, name) if name in team.societies else inner)
    return found


def _in_a_circle(team: Team) -> WorkflowStructure:
    names, turns = team.names, team.max_turns
    following = zip(names, [*names[1:], names[0]], strict=True)
    edges = [StructureEdge(before, after, EdgeKind.CONDITIONAL) for before, after in following]
    bounds = {} if turns is None else {name: max(0, -(-(turns - n) // len(names))) for n, name in enumerate(names)}
    return _structure(team, names, edges, entry=names[:1], ends=names, bounds=bounds, max_steps=turns)


def _by_choice(team: Team, manager: str, calls: Mapping[str, int]) -> WorkflowStructure:
    edges = [StructureEdge(manager, name, EdgeKind.CONDITIONAL) for name in team.names]
    edges += [StructureEdge(name, manager, EdgeKind.CONDITIONAL) for name in team.names]
    nodes, steps = [manager, *team.names], None if team.max_turns is None else 2 * team.max_turns
    # Who was selected speaks; Magentic-One has the last word unless a condition takes it.
    last = [] if team.kind == SELECTOR else [manager]
    heard = team.names if team.kind == SELECTOR or team.stoppable else ()
    known = team._replace(calls={**team.calls, **calls})
    return _structure(known, nodes, edges, entry=[manager], ends=[*last, *heard], max_steps=steps)


def _anybody(team: Team) -> WorkflowStructure:
    names = team.names
    edges = [StructureEdge(before, after, EdgeKind.CONDITIONAL) for before in names for after in names]
    return _structure(team, names, edges, entry=names[:1], ends=names, max_steps=team.max_turns)


def _of_graph(team: Team, graph: Mapping[str, Any]) -> WorkflowStructure:
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
    starts = [graph["default_start_node"]] if graph.get("default_start_node") else set(edges_of) - set(sources)
    return _structure(
        team,
        list(edges_of),
        edges,
        entry=[name for name in edges_of if name in starts],
        ends=ends,
        joins=[name for name in joins if len(sources[name]) > 1],
        max_steps=team.max_turns,
    )


def _structure(
    team: Team,
    nodes: Sequence[str],
    edges: Iterable[StructureEdge],
    *,
    entry: Iterable[str],
    ends: Iterable[str],
    max_steps: int | None,
    bounds: Mapping[str, int] = MappingProxyType({}),
    joins: Iterable[str] = (),
) -> WorkflowStructure:
    # Turns bound the calls only where it is known how many calls every turn may make.
    bounded = all(name in team.calls for name in nodes)
    return WorkflowStructure(
        framework="autogen",
        nodes=tuple(nodes),
        edges=tuple(edges),
        entry=tuple(entry),
        ends=tuple(ends),
        joins=tuple(joins),
        bounds=bounds if bounded else {},
        calls={name: count for name, count in team.calls.items() if name in nodes},
        max_steps=max_steps if bounded else None,
    )
