"""A team ends at the deadline, whatever its agents are doing then."""

import asyncio
from dataclasses import dataclass

import pytest

pytest.importorskip("autogen_agentchat.agents")
pytest.importorskip("autogen_ext.models.openai")

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.base import Response
from autogen_agentchat.messages import TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat
from autogen_core import AgentId, MessageContext, RoutedAgent, SingleThreadedAgentRuntime, message_handler

import agentsched as ags

pytestmark = [pytest.mark.usefixtures("known_model_runtime", "adapter"), pytest.mark.filterwarnings("ignore")]

LONG = "Go on. [[out=100000]]"
ENOUGH_S = 20.0
"""Much longer than the deadlines here, much shorter than for ever."""


async def in_time(work, *, slo="0.5s"):
    """The error with which it ends, if it ends."""
    async with asyncio.timeout(ENOUGH_S):
        with pytest.raises(ags.DeadlineExceeded) as caught:
            await ags.workflow(slo=slo, name="team")(work)()
    return caught.value


async def test_while_a_selector_asks_for_the_first_speaker(make_agent):
    """AutoGen alone would wait for ever: it loses count of a message whose sender was cancelled."""

    async def work():
        agents = [make_agent("one"), make_agent("two")]
        model = make_agent("chooser", max_tokens=100_000)._model_client
        await SelectorGroupChat(agents, model_client=model, max_turns=3).run(task=LONG)

    error = await in_time(work, slo="3s")
    assert error.step == "SelectorGroupChatManager"


async def test_while_a_tool_goes_on_for_ever(make_agent):
    async def look() -> str:
        """Look it up."""
        await asyncio.Event().wait()
        return "seen"

    async def work():
        await RoundRobinGroupChat([make_agent("seeker", tools=[look])], max_turns=2).run(task="Use it. [[tool=look]]")

    assert (await in_time(work, slo="3s")).step == "seeker"


class Waiting(BaseChatAgent):
    produced_message_types = (TextMessage,)

    async def on_messages(self, messages, cancellation_token):
        await asyncio.Event().wait()
        return Response(chat_message=TextMessage(content="x", source=self.name))

    async def on_reset(self, cancellation_token):
        pass


async def test_while_an_agent_that_asks_no_model_goes_on_for_ever():
    async def work():
        await RoundRobinGroupChat([Waiting("waiting", "d")], max_turns=2).run(task="hi")

    await in_time(work)


@dataclass
class Ask:
    wait_s: float


class Failing(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("fails")

    @message_handler
    async def handle(self, message: Ask, ctx: MessageContext) -> Ask:
        await asyncio.sleep(message.wait_s)
        raise ValueError("failed")


async def test_an_error_still_reaches_a_sender_who_waits_and_only_that_one():
    @ags.workflow(slo="20s")
    async def work():
        runtime = SingleThreadedAgentRuntime(ignore_unhandled_exceptions=True)
        await Failing.register(runtime, "failing", Failing)
        runtime.start()
        with pytest.raises(ValueError, match="failed"):
            await runtime.send_message(Ask(0.0), AgentId("failing", "default"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(runtime.send_message(Ask(0.05), AgentId("failing", "default")), 0.01)
        async with asyncio.timeout(ENOUGH_S):
            await runtime.stop_when_idle()
        return "idle"

    assert await work() == "idle"
