"""What a team says of itself before it starts: who takes part, who may follow whom, how often."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from agentsched.core.structure import EdgeKind, StructureEdge, WorkflowStructure
from agentsched.workflow.replacing import ReplacedMethod

__all__ = ["ASSISTANT", "dumping", "remembering", "team_structure"]

ASSISTANT = "AssistantAgent"
"""The agent whose calls per turn are known."""

_ORDERED = "RoundRobinGroupChat"
_SELECTOR, _ORCHESTRATOR = "SelectorGroupChatManager", "MagenticOneOrchestrator"
_MANAGERS = {"SelectorGroupChat": _SELECTOR, "MagenticOneGroupChat": _ORCHESTRATOR}
_KINDS = (_ORDERED, *_MANAGERS)
_built: WeakKeyDictionary[Any, Mapping[str, Any]] = WeakKeyDictionary()
_reading: ContextVar[bool] = ContextVar("agentsched_autogen_reading", default=False)
"""Whether a team is being read: what of it cannot be serialised then says its name only."""


class _Team(NamedTuple):
    """What is known of a team.

    Attributes:
        calls: by participant, the most calls of one turn; a participant of whom that is not known is missing.
        graph: that of a ``GraphFlow``.
        attempts: how often a selector team asks for one speaker.
        stoppable: whether a termination condition may end it after any participant's turn.
    """

    names: list[str]
    calls: dict[str, int]
    graph: Mapping[str, Any] | None
    max_turns: int | None
    attempts: int | None
    stoppable: bool


def remembering(replaced: ReplacedMethod, original: Callable[..., None]) -> object:
    """Around a constructor: keeps what a team or an agent was built from, for they have no public way to ask."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def init(built: Any, *args: Any, **options: Any) -> None:
        original(built, *args, **options)
        if replaced.on:
            given = signature.bind(built, *args, **options)
            given.apply_defaults()
            # Without the object itself, which its own entry would keep alive.
            _built.setdefault(built, {key: value for key, value in given.arguments.items() if value is not built})

    return init


def dumping(replaced: ReplacedMethod, original: Callable[..., Any]) -> object:
    """Around ``dump_component``: while a team is read, a part that cannot be serialised does not spoil the rest."""
    component_model = sys.modules[original.__module__].ComponentModel

    @functools.wraps(original)
    def dump_component(component: Any) -> Any:
        if not (replaced.on and _reading.get()):
            return original(component)
        try:
            return original(component)
        except Exception:  # noqa: BLE001  # an agent's, tool's or client's own code: whatever it raises, it cannot
            kind = type(component)
            return component_model(
                provider=f"{kind.__module__}.{kind.__qualname__}",
                component_type=getattr(component, "component_type", None),
                config={"name": name} if isinstance(name := getattr(component, "name", None), str) else {},
            )

    return dump_component


def team_structure(team: Any) -> WorkflowStructure | None:
    """The structure of a team: None if nothing can be known of it.

    Participants of a round-robin team follow each other in a circle; in a selector team, and under Magentic-One, the
    manager asks a model before each of them; in a swarm anybody may hand over to anybody; a ``GraphFlow`` has a graph.
    A class of your own is taken for what it derives from. ``max_turns`` bounds the participants' turns; how often
    Magentic-One's orchestrator asks between two of them is its own affair, so nothing bounds that team's calls. How
    many calls a turn makes is known of assistant agents: one, and with tools one per round and one that sums up.
    """
    kind = next((each.__name__ for each in type(team).__mro__ if each.__name__ in _KINDS), "")
    built = _built.get(team)
    known = _from_component(team) if built is None else _from_arguments(built)
    if not known.names:
        return None
    if known.graph is not None:
        return _of_graph(known, known.graph)
    if kind == _ORDERED:
        return _in_a_circle(known)
    if kind in _MANAGERS:
        return _by_choice(known, _MANAGERS[kind])
    return _anybody(known)


def _from_arguments(built: Mapping[str, Any]) -> _Team:
    calls = {member.name: _calls_of_turn(_built[member]) for member in built["participants"] if member in _built}
    return _Team(
        names=[member.name for member in built["participants"]],
        calls=calls,
        graph=_plain_data(built["graph"]) if built.get("graph") is not None else None,
        max_turns=built.get("max_turns"),
        attempts=built.get("max_selector_attempts"),
        stoppable=built.get("termination_condition") is not None,
    )


def _from_component(team: Any) -> _Team:
    """What a team that was built before the adapter went in says when it is asked to serialise itself.

    Of a team of a kind of its own, or a graph that leads nowhere any more, that may be nothing.
    """
    token = _reading.set(True)
    try:
        config = team.dump_component().config
    except Exception:  # noqa: BLE001  # see `dumping`, which may not be in
        return _Team([], {}, None, None, None, False)
    finally:
        _reading.reset(token)
    members = [member for member in config.get("participants", ()) if "name" in member["config"]]
    return _Team(
        names=[member["config"]["name"] for member in members],
        calls={
            member["config"]["name"]: _calls_of_turn(member["config"] | {"workbench": _benches(member["config"])})
            for member in members
            if member["provider"].endswith(f".{ASSISTANT}")
        },
        graph=config.get("graph"),
        max_turns=config.get("max_turns"),
        attempts=config.get("max_selector_attempts"),
        stoppable=config.get("termination_condition") is not None,
    )


def _benches(assistant: Mapping[str, Any]) -> list[Any]:
    """The workbenches in an assistant's own description that are not empty: it has one also without any tool."""
    return [bench for bench in assistant.get("workbench") or () if bench["config"].get("tools") != []]


def _calls_of_turn(assistant: Mapping[str, Any]) -> int:
    """The most calls of one turn of an ``AssistantAgent`` that was built from, or says of itself, this."""
    equipped = any(assistant.get(name) for name in ("tools", "workbench", "handoffs"))
    return 1 + int(assistant.get("max_tool_iterations") or 1) if equipped else 1


def _plain_data(graph: Any) -> dict[str, Any]:
    """A ``DiGraph`` as it serialises itself, but with the conditions that are functions."""
    data: dict[str, Any] = graph.model_dump()
    for name, node in graph.nodes.items():
        for edge, copy in zip(node.edges, data["nodes"][name]["edges"], strict=True):
            copy["condition"] = edge.condition or edge.condition_function
    return data


def _in_a_circle(team: _Team) -> WorkflowStructure:
    names, turns = team.names, team.max_turns
    following = zip(names, [*names[1:], names[0]], strict=True)
    edges = [StructureEdge(before, after, EdgeKind.CONDITIONAL) for before, after in following]
    bounds = {} if turns is None else {name: max(0, -(-(turns - n) // len(names))) for n, name in enumerate(names)}
    return _structure(team, names, edges, entry=names[:1], ends=names, bounds=bounds, max_steps=turns)


def _by_choice(team: _Team, manager: str) -> WorkflowStructure:
    edges = [StructureEdge(manager, name, EdgeKind.CONDITIONAL) for name in team.names]
    edges += [StructureEdge(name, manager, EdgeKind.CONDITIONAL) for name in team.names]
    nodes, steps = [manager, *team.names], None if team.max_turns is None else 2 * team.max_turns
    if team.attempts is not None:
        team.calls[manager] = team.attempts
    # Who was selected speaks; Magentic-One has the last word unless a condition takes it.
    last = [] if manager == _SELECTOR else [manager]
    heard = team.names if manager == _SELECTOR or team.stoppable else []
    return _structure(team, nodes, edges, entry=[manager], ends=[*last, *heard], max_steps=steps)


def _anybody(team: _Team) -> WorkflowStructure:
    names = team.names
    edges = [StructureEdge(before, after, EdgeKind.CONDITIONAL) for before in names for after in names]
    return _structure(team, names, edges, entry=names[:1], ends=names, max_steps=team.max_turns)


def _of_graph(team: _Team, graph: Mapping[str, Any]) -> WorkflowStructure:
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
    team: _Team,
    nodes: list[str],
    edges: Iterable[StructureEdge],
    *,
    entry: list[str],
    ends: list[str],
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
