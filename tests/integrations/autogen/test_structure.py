"""What a team says of itself, whether it was built before or after the adapter went in."""

import pytest

pytest.importorskip("autogen_agentchat.agents")
pytest.importorskip("autogen_ext.models.openai")

from autogen_agentchat.agents import AssistantAgent, BaseChatAgent, SocietyOfMindAgent
from autogen_agentchat.base import Response
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import TextMessage
from autogen_agentchat.teams import (
    DiGraphBuilder,
    GraphFlow,
    MagenticOneGroupChat,
    RoundRobinGroupChat,
    SelectorGroupChat,
    Swarm,
)
from autogen_core.tools import FunctionTool

import agentsched as ags
from agentsched.core.structure import WorkflowStructure
from agentsched_autogen import install
from agentsched_autogen.structure import team_structure

pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(params=["built before", "built after"])
def structure_of(request):
    """Asks a team for its structure, by either way."""

    def structure(build) -> WorkflowStructure | None:
        if request.param == "built before":
            return team_structure(build())
        undo = install()
        try:
            return team_structure(build())
        finally:
            undo()

    return structure


def edges(structure):
    return {(edge.source, edge.target): edge.kind.value for edge in structure.edges}


def test_a_round_robin_is_a_circle(make_agent, structure_of):
    structure = structure_of(lambda: RoundRobinGroupChat([make_agent(name) for name in "abc"], max_turns=4))
    assert edges(structure) == dict.fromkeys([("a", "b"), ("b", "c"), ("c", "a")], "conditional")
    assert (structure.entry, structure.max_steps) == (("a",), 4)
    assert structure.bounds == {"a": 2, "b": 1, "c": 1}


@pytest.mark.parametrize(
    ("team", "manager"),
    [(SelectorGroupChat, "SelectorGroupChatManager"), (MagenticOneGroupChat, "MagenticOneOrchestrator")],
)
def test_a_manager_chooses_among_participants(make_agent, structure_of, team, manager):
    def build():
        members = [make_agent(name) for name in ("one", "two")]
        return team(members, model_client=members[0]._model_client, max_turns=5)

    structure = structure_of(build)
    assert structure.entry == (manager,)
    assert edges(structure) == dict.fromkeys(
        [(manager, "one"), (manager, "two"), ("one", manager), ("two", manager)], "conditional"
    )
    assert structure.ends == (("one", "two") if team is SelectorGroupChat else (manager,))
    assert structure.calls == ({manager: 3, "one": 1, "two": 1} if team is SelectorGroupChat else {"one": 1, "two": 1})
    assert structure.max_steps == (10 if team is SelectorGroupChat else None)  # how often Magentic-One asks is unknown


def test_a_condition_may_end_magentic_one_after_anybody(make_agent, structure_of):
    def build():
        member = make_agent("one")
        return MagenticOneGroupChat(
            [member], model_client=member._model_client, termination_condition=MaxMessageTermination(9)
        )

    assert structure_of(build).ends == ("MagenticOneOrchestrator", "one")


class OwnTeam(MagenticOneGroupChat):
    """As AutoGen's own ready-made Magentic-One is one."""


def test_a_team_of_a_class_of_ones_own_is_of_the_kind_that_it_derives_from(make_agent, structure_of):
    def build():
        member = make_agent("one")
        return OwnTeam([member], model_client=member._model_client)

    assert structure_of(build).entry == ("MagenticOneOrchestrator",)


def test_a_swarm_hands_over_to_anybody(make_agent, structure_of):
    structure = structure_of(lambda: Swarm([make_agent("one", handoffs=["two"]), make_agent("two")]))
    assert set(edges(structure)) == {(a, b) for a in ("one", "two") for b in ("one", "two")}
    assert structure.max_steps is None


def test_a_graph_has_branches_joins_and_loops(make_agent, structure_of):
    def build():
        members = [make_agent(name) for name in ("plan", "left", "right", "write", "end")]
        plan, left, right, write, end = members
        graph = DiGraphBuilder()
        for member in members:
            graph.add_node(member)
        graph.add_edge(plan, left).add_edge(plan, right).add_edge(left, write).add_edge(right, write)
        graph.add_edge(write, plan, condition=lambda message: "again" in message.to_model_text())
        graph.add_edge(write, end, condition="done")
        graph.set_entry_point(plan)
        return GraphFlow(members, graph.build(), max_turns=8)

    structure = structure_of(build)
    assert edges(structure) == {
        ("plan", "left"): "plain",
        ("plan", "right"): "plain",
        ("left", "write"): "plain",
        ("right", "write"): "plain",
        ("write", "plan"): "conditional",
        ("write", "end"): "conditional",
    }
    assert (structure.entry, structure.ends, structure.joins) == (("plan",), ("write", "end"), ("write",))
    assert structure.max_steps == 8


def look() -> str:
    """Look it up."""
    return "seen"


def test_an_agent_with_tools_makes_a_call_per_round_and_one_that_sums_up(make_agent, structure_of):
    def build():
        return RoundRobinGroupChat(
            [make_agent("plain"), make_agent("tools", tools=[look], max_tool_iterations=4)], max_turns=2
        )

    structure = structure_of(build)
    assert structure.calls == {"plain": 1, "tools": 5}
    assert structure.max_steps == 2


def duo(make_agent, **options):
    return RoundRobinGroupChat([make_agent("left"), make_agent("right")], max_turns=2, **options)


def test_a_team_in_a_team_is_known_by_what_it_is_made_of(make_agent, structure_of):
    structure = structure_of(
        lambda: RoundRobinGroupChat([make_agent("first"), duo(make_agent, name="inner", description="d")], max_turns=4)
    )
    assert set(structure.nodes) == {"first", "left", "right"}
    assert edges(structure) == dict.fromkeys(
        [("first", "left"), ("left", "right"), ("right", "left"), ("left", "first"), ("right", "first")], "conditional"
    )
    assert (structure.entry, set(structure.ends)) == (("first",), {"first", "left", "right"})
    assert dict(structure.calls) == {"first": 1, "left": 1, "right": 1}
    assert (structure.max_steps, dict(structure.bounds)) == (None, {})  # it may speak for longer than one turn


def test_a_society_speaks_first_and_then_sums_up(make_agent, structure_of):
    def build():
        members = [SocietyOfMindAgent("society", duo(make_agent), model_client=make_agent()._model_client)]
        graph = DiGraphBuilder()
        members.append(make_agent("last"))
        graph.add_node(members[0]).add_node(members[1]).add_edge(members[0], members[1])
        return GraphFlow(members, graph.build())

    structure = structure_of(build)
    assert edges(structure) == {
        ("left", "right"): "conditional",
        ("right", "left"): "conditional",
        ("left", "society"): "conditional",
        ("right", "society"): "conditional",
        ("society", "last"): "plain",
    }
    assert (structure.entry, structure.ends) == (("left",), ("last",))
    assert dict(structure.calls) == {"left": 1, "right": 1, "society": 1, "last": 1}


class Restless(AssistantAgent):
    """An assistant that asks as often as it likes."""

    async def on_messages_stream(self, messages, cancellation_token):
        async for item in super().on_messages_stream(messages, cancellation_token):
            yield item


def test_how_often_an_assistant_asks_that_takes_turns_of_its_own_is_unknown(make_agent):
    def build():
        members = [Restless("restless", make_agent()._model_client), make_agent("plain")]
        return RoundRobinGroupChat(members, max_turns=2)

    before = build()
    undo = install()
    for team in (before, build()):
        structure = team_structure(team)
        assert (dict(structure.calls), structure.max_steps) == ({"plain": 1}, None)
    undo()


class Odd(BaseChatAgent):
    """An agent that cannot be serialised."""

    produced_message_types = (TextMessage,)

    async def on_messages(self, messages, cancellation_token):
        return Response(chat_message=TextMessage(content="x", source=self.name))

    async def on_reset(self, cancellation_token):
        pass


def unloadable(tools):
    """Tools that cannot be serialised: their source is nowhere."""
    for each in tools:
        namespace = {}
        exec(f"def {each}() -> str:\n    return 'x'", namespace)
        yield FunctionTool(namespace[each], description="d")


def test_of_a_team_that_cannot_be_serialised_names_turns_and_graph_are_known_all_the_same(make_agent):
    """Also where it was built before the adapter went in."""
    before = RoundRobinGroupChat([Odd("odd", "d"), make_agent("tools", tools=list(unloadable("ab")))], max_turns=3)
    members = [Odd("plan", "d"), make_agent("left"), make_agent("right"), Odd("write", "d")]
    graph = DiGraphBuilder()
    for member in members:
        graph.add_node(member)
    for middle in members[1:3]:
        graph.add_edge(members[0], middle).add_edge(middle, members[3])
    flow = GraphFlow(members, graph.build())
    assert team_structure(before) is None
    undo = install()
    structure = team_structure(before)
    assert structure.nodes == ("odd", "tools")
    assert (dict(structure.calls), structure.max_steps) == ({"tools": 2}, None)
    structure = team_structure(flow)
    assert (structure.entry, structure.joins) == (("plan",), ("write",))
    assert set(structure.calls) == {"left", "right"}
    with pytest.raises(NotImplementedError):  # asked by anybody else, it cannot as ever
        before.dump_component()
    undo()
    with pytest.raises(NotImplementedError):
        before.dump_component()


def test_a_team_that_cannot_be_serialised_is_known_if_it_was_seen_being_built():
    undo = install()
    seen = RoundRobinGroupChat([Odd("odd", "d")], max_turns=3)
    undo()
    structure = team_structure(seen)
    assert structure.nodes == ("odd",)
    assert (structure.calls, structure.max_steps) == ({}, None)  # nobody knows how many calls it makes


@pytest.mark.usefixtures("adapter")
async def test_a_run_tells_it_once_and_makes_its_calls_in_those_steps(known_model_runtime, make_agent, steps_of):
    team = RoundRobinGroupChat([make_agent("one"), make_agent("two")], max_turns=2)

    @ags.workflow(slo="30s", name="told")
    async def run():
        await team.run(task="hi")
        return steps_of(ags.current())

    steps = [await run(), await run()]
    (structure,) = known_model_runtime.structures["told"]
    assert set(steps[0]) == set(structure.nodes)
