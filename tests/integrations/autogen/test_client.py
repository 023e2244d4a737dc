"""The explicit client: scheduled in a run without instrumentation, an ordinary client otherwise."""

import pytest

pytest.importorskip("autogen_agentchat.agents")
pytest.importorskip("autogen_ext.models.openai")

from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient

import agentsched as ags
from agentsched import api
from agentsched_autogen import ScheduledChatCompletionClient

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _unpatched(known_model_runtime, monkeypatch):
    ags.uninstrument()
    monkeypatch.setattr(api, "instrument", lambda: None)


@pytest.fixture
def client(known_model_pool):
    return ScheduledChatCompletionClient(model="gpt-4o-mini", max_tokens=5, base_url=known_model_pool.url("a"))


async def test_calls_in_a_run_are_scheduled(client, steps_of):
    @ags.workflow(slo="30s")
    async def run():
        await client.create([UserMessage(content="hi", source="user")])
        assert [item async for item in client.create_stream([UserMessage(content="hi", source="user")])]
        with ags.step("agent"):
            await AssistantAgent("writer", client).run(task="hi")
        return steps_of(ags.current())

    steps = await run()
    assert steps["agent"] == 1
    assert sum(steps.values()) == 3


async def test_calls_of_an_ordinary_client_are_not(known_model_pool):
    @ags.workflow(slo="30s")
    async def run():
        ordinary = OpenAIChatCompletionClient(model="gpt-4o-mini", base_url=known_model_pool.url("a"))
        await ordinary.create([UserMessage(content="hi", source="user")])
        return ags.current().calls

    assert await run() == 0


async def test_outside_a_run_it_is_an_ordinary_client(client):
    answer = await client.create([UserMessage(content="hi", source="user")])
    assert answer.content
    assert client.total_usage().completion_tokens == 5


def test_it_serialises_itself(client):
    component = client.dump_component()
    assert component.provider == "agentsched_autogen.ScheduledChatCompletionClient"
    loaded = ScheduledChatCompletionClient.load_component(component)
    assert isinstance(loaded, ScheduledChatCompletionClient)
