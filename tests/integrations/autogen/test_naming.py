"""Every model call of AutoGen's agents is caught, in the right run, and sent in the agent's name."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass

import pytest

pytest.importorskip("autogen_agentchat.agents")
pytest.importorskip("autogen_ext.models.openai")

from autogen_agentchat.agents import SocietyOfMindAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import (
    DiGraphBuilder,
    GraphFlow,
    MagenticOneGroupChat,
    RoundRobinGroupChat,
    SelectorGroupChat,
)
from autogen_agentchat.tools import AgentTool, TeamTool
from autogen_core import (
    AgentId,
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TypeSubscription,
    message_handler,
)
from autogen_core.models import UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient

import agentsched as ags

pytestmark = [pytest.mark.usefixtures("known_model_runtime", "adapter"), pytest.mark.filterwarnings("ignore")]

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@STREAM
async def test_a_team_is_named_by_its_participants(make_agent, steps_of, stream):
    members = [make_agent("one", stream=stream), make_agent("two", stream=stream)]
    team = RoundRobinGroupChat(members, max_turns=3)

    @ags.workflow(slo="30s")
    async def run() -> Counter[str]:
        await team.run(task="hi")
        return steps_of(ags.current())

    assert await run() == {"one": 2, "two": 1}


async def test_who_chooses_the_speaker_has_a_name_too(make_agent, steps_of):
    client = OpenAIChatCompletionClient(model="gpt-4o-mini", max_tokens=6)
    team = SelectorGroupChat(
        [make_agent("one"), make_agent("two")],
        client,
        max_turns=1,
        selector_prompt="[[say=two]]{roles}{history}{participants}",
    )

    @ags.workflow(slo="30s")
    async def run() -> Counter[str]:
        await team.run(task="hi")
        return steps_of(ags.current())

    steps = await run()
    assert steps["SelectorGroupChatManager"] >= 1
    assert steps["two"] == 1


LEDGER = {
    "is_request_satisfied": {"answer": False, "reason": "r"},
    "is_progress_being_made": {"answer": True, "reason": "r"},
    "is_in_loop": {"answer": False, "reason": "r"},
    "instruction_or_question": {"answer": "go on", "reason": "r"},
    "next_speaker": {"answer": "one", "reason": "r"},
}


async def test_every_call_of_magentic_ones_orchestrator_has_its_name(make_agent, steps_of):
    plain = {"vision": False, "function_calling": True, "json_output": False, "structured_output": False}
    client = OpenAIChatCompletionClient(model="gpt-4o-mini", model_info={**plain, "family": "gpt-4o"})
    team = MagenticOneGroupChat([make_agent("one"), make_agent("two")], client, max_turns=1)

    @ags.workflow(slo="30s")
    async def run() -> Counter[str]:
        await team.run(task=f"[[say=```json\n{json.dumps(LEDGER)}\n```]]")
        return steps_of(ags.current())

    # Facts, plan, then the ledger and who it names, twice: that is more than one turn, and the final answer.
    assert await run() == {"MagenticOneOrchestrator": 5, "one": 2}


async def test_the_structure_of_teams_in_teams_has_every_step_that_comes(make_agent, steps_of, known_model_runtime):
    inner = RoundRobinGroupChat([make_agent("left"), make_agent("right")], max_turns=2, name="inner", description="d")
    society = SocietyOfMindAgent("society", inner, model_client=OpenAIChatCompletionClient(model="gpt-4o-mini"))
    pair = RoundRobinGroupChat([make_agent("pair")], max_turns=1, name="pairs", description="d")

    @ags.workflow(slo="30s", name="teams in teams")
    async def run() -> Counter[str]:
        await RoundRobinGroupChat([society, pair], max_turns=2).run(task="hi")
        return steps_of(ags.current())

    assert await run() == {"left": 1, "right": 1, "society": 1, "pair": 1}
    structure, *_ = known_model_runtime.structures["teams in teams"]
    assert set(structure.nodes) == {"left", "right", "society", "pair"}


async def test_branches_of_a_graph_have_their_own_names(make_agent, steps_of):
    plan, left, right, write = members = [make_agent(name) for name in ("plan", "left", "right", "write")]
    graph = DiGraphBuilder()
    for member in members:
        graph.add_node(member)
    graph.add_edge(plan, left).add_edge(plan, right).add_edge(left, write).add_edge(right, write)
    flow = GraphFlow(members, graph.build())

    @ags.workflow(slo="30s")
    async def run() -> Counter[str]:
        await flow.run(task="hi")
        return steps_of(ags.current())

    assert await run() == {"plan": 1, "left": 1, "right": 1, "write": 1}


@STREAM
async def test_an_agent_alone_is_named(make_agent, steps_of, stream):
    @ags.workflow(slo="30s")
    async def run() -> Counter[str]:
        agent = make_agent("alone", stream=stream)
        await agent.run(task="hi")
        assert [item async for item in agent.run_stream(task="again")]
        return steps_of(ags.current())

    assert await run() == {"alone": 2}


def test_a_synchronous_program_is_named_as_well(make_agent, steps_of):
    @ags.workflow(slo="30s")
    def run() -> Counter[str]:
        asyncio.run(make_agent("alone").run(task="hi"))
        return steps_of(ags.current())

    assert run() == {"alone": 1}


async def test_an_agent_and_a_team_that_are_tools_are_named(make_agent, steps_of):
    critic = AgentTool(make_agent("critic", description="d"))
    team = RoundRobinGroupChat([make_agent("member")], max_turns=1)
    panel = TeamTool(team, name="panel", description="d")
    writer = make_agent("writer", tools=[critic])
    asker = make_agent("asker", tools=[panel])

    @ags.workflow(slo="30s")
    async def run(agent: object, task: str) -> Counter[str]:
        await agent.run(task=task)
        return steps_of(ags.current())

    assert set(await run(writer, "[[tool=critic]]")) == {"writer", "writer/critic"}
    assert set(await run(asker, "[[tool=panel]]")) == {"asker", "member"}


@dataclass
class Ask:
    text: str


class Answerer(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("answers")
        self._client = OpenAIChatCompletionClient(model="gpt-4o-mini", max_tokens=6)
        self.runs: list[ags.Run | None] = []

    @message_handler
    async def answer(self, message: Ask, ctx: MessageContext) -> str:
        run = ags.current()
        answer = None
        if run is not None:
            answer = await self._client.create([UserMessage(content=message.text, source="user")])
        return f"{run and run.run_id} {answer and answer.content}"


async def test_a_runtime_that_was_started_elsewhere_works_for_whoever_sends(steps_of):
    runtime = SingleThreadedAgentRuntime()
    await Answerer.register(runtime, "answerer", Answerer)

    @ags.workflow(slo="30s")
    async def run() -> None:
        told = await runtime.send_message(Ask("hi"), AgentId("answerer", "default"))
        assert told.split()[0] == ags.current().run_id
        assert steps_of(ags.current()) == {"answerer": 1}

    runtime.start()
    await asyncio.gather(*(run() for _ in range(4)))
    outside = await runtime.send_message(Ask("hi"), AgentId("answerer", "default"))
    assert outside.split()[0] == "None"
    await runtime.stop_when_idle()


async def test_nor_does_one_started_in_a_run_work_for_it_when_others_ask():
    runtime = SingleThreadedAgentRuntime()
    await Answerer.register(runtime, "answerer", Answerer)
    entered, leave = asyncio.Event(), asyncio.Event()

    @ags.workflow(slo="30s")
    async def run() -> None:
        runtime.start()
        entered.set()
        await leave.wait()

    running = asyncio.create_task(run())
    await entered.wait()
    outside = await runtime.send_message(Ask("hi"), AgentId("answerer", "default"))
    assert outside.split()[0] == "None"
    leave.set()
    await running
    await runtime.stop_when_idle()


async def test_a_published_message_carries_the_run_and_its_deadline(steps_of):
    runtime = SingleThreadedAgentRuntime()
    seen: list[tuple[str | None, float | None]] = []
    heard = asyncio.Event()

    class Listener(RoutedAgent):
        @message_handler
        async def hear(self, message: Ask, ctx: MessageContext) -> None:
            run = ags.current()
            seen.append((run and run.run_id, run and run.remaining()))
            heard.set()

    await Listener.register(runtime, "listener", lambda: Listener("hears"))
    await runtime.add_subscription(TypeSubscription("default", "listener"))
    runtime.start()

    @ags.workflow(slo="30s")
    async def run() -> str:
        await runtime.publish_message(Ask("hi"), DefaultTopicId(), message_id="mine")
        await heard.wait()
        return ags.current().run_id

    run_id = await run()
    assert seen[0][0] == run_id
    assert 0 < seen[0][1] < 30
    await runtime.stop_when_idle()


async def test_a_team_on_a_shared_runtime_belongs_to_each_run_in_turn(make_agent, steps_of):
    runtime = SingleThreadedAgentRuntime()
    runtime.start()
    team = RoundRobinGroupChat([make_agent("one")], runtime=runtime, termination_condition=MaxMessageTermination(2))

    @ags.workflow(slo="30s")
    async def run() -> Counter[str]:
        await team.run(task="hi")
        await team.reset()
        return steps_of(ags.current())

    assert await run() == await run() == {"one": 1}
    await runtime.stop_when_idle()
