"""What is known of a team before it starts: from what it was built from, else from what it serialises."""

import functools
import inspect
import sys
from collections.abc import Callable, Container, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from agentsched.workflow.replacing import ReplacedMethod

__all__ = [
    "ASSISTANT",
    "MAGENTIC",
    "ORDERED",
    "SELECTOR",
    "SOCIETY",
    "TEAMS",
    "Team",
    "dumping",
    "known_of",
    "remembering",
]

ORDERED, SELECTOR, MAGENTIC = "RoundRobinGroupChat", "SelectorGroupChat", "MagenticOneGroupChat"
TEAMS = (ORDERED, SELECTOR, MAGENTIC, "Swarm", "GraphFlow")
"""The kinds of team that AutoGen has."""

ASSISTANT = "AssistantAgent"
"""The agent whose calls per turn are known."""

SOCIETY = "SocietyOfMindAgent"
"""The agent that has a team, and sums up what that said."""

_built: WeakKeyDictionary[Any, Mapping[str, Any]] = WeakKeyDictionary()
_reading: ContextVar[bool] = ContextVar("agentsched_autogen_reading", default=False)
"""Whether a team is being read: what of it cannot be serialised then says its name only."""


class Team(NamedTuple):
    """What is known of a team.

    Attributes:
        kind: one of `TEAMS`; empty if it is of another.
        names: of its participants.
        calls: by participant, the most calls of one turn; a participant of whom that is not known is missing.
        inner: by participant, the team that it is or has.
        societies: the participants who sum up, with one call, what their team has said.
        graph: that of a ``GraphFlow``.
        max_turns: of all participants; None: as many as there are.
        attempts: how often a selector team asks for one speaker.
        stoppable: whether a termination condition may end it after any participant's turn.
    """

    kind: str
    names: tuple[str, ...]
    calls: Mapping[str, int]
    inner: "Mapping[str, Team]"
    societies: tuple[str, ...]
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
    """Around ``dump_component``: while a team is read, a part that cannot be serialised does not spoil the rest, and an
    assistant that takes its turns in a way of its own does not pass for one of AutoGen's."""
    component_model = sys.modules[original.__module__].ComponentModel

    @functools.wraps(original)
    def dump_component(component: Any) -> Any:
        if not (replaced.on and _reading.get()):
            return original(component)
        kind = type(component)
        provider = f"{kind.__module__}.{kind.__qualname__}"
        try:
            told = original(component)
        except Exception:  # noqa: BLE001  # an agent's, tool's or client's own code: whatever it raises, it cannot
            return component_model(
                provider=provider,
                component_type=getattr(component, "component_type", None),
                config={"name": name} if isinstance(name := getattr(component, "name", None), str) else {},
            )
        return told.model_copy(update={"provider": provider}) if _has_turns_of_its_own(kind) else told

    return dump_component


def known_of(team: Any) -> Team:
    """What is known of a team; without names if that is nothing."""
    if team in _built:
        return _from_arguments(team, _built[team])
    token = _reading.set(True)
    try:
        config = team.dump_component().config
    except Exception:  # noqa: BLE001  # see `dumping`, which may not be in
        config = {}
    finally:
        _reading.reset(token)
    return _from_config(_kind_of(team, TEAMS), config)


def _kind_of(part: Any, kinds: Container[str]) -> str:
    """Which of AutoGen's classes it is, or derives from."""
    return next((each.__name__ for each in type(part).__mro__ if each.__name__ in kinds), "")


def _has_turns_of_its_own(kind: type) -> bool:
    """Whether it is a class of assistants that takes its turns in a way which only its author knows."""
    home: Any = next((each for each in kind.__mro__ if each.__name__ == ASSISTANT), kind)
    own: Any = kind
    names = ("on_messages", "on_messages_stream")
    return own is not home and any(getattr(own, name) is not getattr(home, name) for name in names)


def _from_arguments(team: Any, built: Mapping[str, Any]) -> Team:
    members = {member.name: member for member in built["participants"]}
    teams = {name: member for name, member in members.items() if _kind_of(member, TEAMS)}
    assistants = {name: member for name, member in members.items() if _kind_of(member, (ASSISTANT,))}
    societies = {
        name: _built[member]["team"]
        for name, member in members.items()
        if _kind_of(member, (SOCIETY,)) and member in _built
    }
    return Team(
        kind=_kind_of(team, TEAMS),
        names=tuple(members),
        calls={
            name: _calls_of_turn(_built[member])
            for name, member in assistants.items()
            if member in _built and not _has_turns_of_its_own(type(member))
        },
        inner={name: known_of(inner) for name, inner in (teams | societies).items()},
        societies=tuple(societies),
        graph=_plain_data(built["graph"]) if built.get("graph") is not None else None,
        max_turns=built.get("max_turns"),
        attempts=built.get("max_selector_attempts"),
        stoppable=built.get("termination_condition") is not None,
    )


def _from_config(kind: str, config: Mapping[str, Any]) -> Team:
    """From what a team, or a participant that is one, says when it is asked to serialise itself.

    Of a team of a kind of its own, or a graph that leads nowhere any more, that may be nothing.
    """
    members = {each["config"]["name"]: each for each in config.get("participants", ()) if "name" in each["config"]}
    teams = {name: member for name, member in members.items() if _class_of(member) in TEAMS}
    societies = {
        name: member["config"]["team"]
        for name, member in members.items()
        if _class_of(member) == SOCIETY and "team" in member["config"]
    }
    return Team(
        kind=kind,
        names=tuple(members),
        calls={
            name: _calls_of_turn(member["config"] | {"workbench": _benches(member["config"])})
            for name, member in members.items()
            if _class_of(member) == ASSISTANT
        },
        inner={name: _from_config(_class_of(inner), inner["config"]) for name, inner in (teams | societies).items()},
        societies=tuple(societies),
        graph=config.get("graph"),
        max_turns=config.get("max_turns"),
        attempts=config.get("max_selector_attempts"),
        stoppable=config.get("termination_condition") is not None,
    )


def _class_of(component: Mapping[str, Any]) -> str:
    return str(component["provider"]).rpartition(".")[2]


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
