"""Agent frameworks, unchanged: a call without an answer is asked for once, and the error that they show is ours.

A framework that is not installed is skipped; the two locked sets have all of them between them.
"""

import asyncio
import gc
from typing import TypedDict

import openai
import pytest

from agentsched.errors import CallTimedOut, CostExceeded, DeadlineExceeded, EndpointsSaturated, EndpointsUnavailable
from agentsched.intercept.errors import OutOfTime
from tests.intercept.fakes import NOWHERE, FakeRuntime, chat_chunks, inside

# Frameworks that warn about themselves while they are imported are none of our business.
pytestmark = pytest.mark.filterwarnings("ignore")

ERRORS = [
    DeadlineExceeded(run_id="r", workflow="flow"),
    CallTimedOut("the caller's 2.00 s are spent"),
    EndpointsUnavailable("all down", attempts=("a: limited 429",)),
    EndpointsSaturated("all at their limits"),
    CostExceeded("no money left"),
]
EACH_ERROR = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


@pytest.fixture(autouse=True, scope="module")
def _collected():
    yield
    gc.collect()  # what they leave unclosed is reported here, where it is ignored


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    for name, value in {
        "CREWAI_DISABLE_TELEMETRY": "true",
        "CREWAI_TRACING_ENABLED": "false",
        "LANGSMITH_TRACING": "false",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": NOWHERE,
        "OTEL_SDK_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def runtime():
    return FakeRuntime("gpt-4o-mini")


def check_clean(error):
    assert error.__cause__ is None
    assert error.__context__ is None
    assert not error.is_retryable


@pytest.fixture
def chat_model():
    pytest.importorskip("langchain_openai")
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="gpt-4o-mini", max_retries=2)


@EACH_ERROR
async def test_langchain(chat_model, dispatcher, new_run, error):
    from langchain_core.exceptions import ModelError

    dispatcher.answer = error
    with inside(new_run()):
        with pytest.raises(type(error)) as caught:
            chat_model.invoke("hi")
        check_clean(caught.value)
        with pytest.raises(type(error)) as caught:
            await chat_model.ainvoke("hi")
    check_clean(caught.value)
    assert isinstance(caught.value, ModelError)
    assert isinstance(caught.value, openai.APIError)
    assert len(dispatcher.calls) == 2


async def test_langchain_while_streaming(chat_model, dispatcher, new_run):
    """Asynchronously it waits for each chunk with a timeout, and would take a TimeoutError for its own."""
    dispatcher.stream(*chat_chunks("a")[:1], DeadlineExceeded(run_id="r"))
    with inside(new_run()):
        with pytest.raises(DeadlineExceeded) as caught:
            list(chat_model.stream("hi"))
        check_clean(caught.value)
        with pytest.raises(OutOfTime) as caught:
            [chunk async for chunk in chat_model.astream("hi")]
    check_clean(caught.value)
    assert isinstance(caught.value.plain, DeadlineExceeded)
    assert len(dispatcher.calls) == 2


@EACH_ERROR
def test_langchains_retry_middleware(chat_model, dispatcher, new_run, error):
    pytest.importorskip("langchain")
    from langchain.agents import create_agent
    from langchain.agents.middleware import ModelRetryMiddleware

    dispatcher.answer = error
    agent = create_agent(chat_model, middleware=[ModelRetryMiddleware(initial_delay=0.01)])
    with inside(new_run()), pytest.raises(type(error)):
        agent.invoke({"messages": [("user", "hi")]})
    assert len(dispatcher.calls) == 1


class State(TypedDict):
    text: str


@EACH_ERROR
@pytest.mark.parametrize("through", ["langchain", "sdk"])
def test_langgraphs_retry_policy(chat_model, sync_client, dispatcher, new_run, error, through):
    pytest.importorskip("langgraph")
    from langgraph.graph import START, StateGraph
    from langgraph.types import RetryPolicy

    def node(state):
        if through == "sdk":
            sync_client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
        return {"text": chat_model.invoke("hi").content}

    policy = RetryPolicy(initial_interval=0.01, max_attempts=3)
    graph = StateGraph(State).add_node("node", node, retry_policy=policy).add_edge(START, "node").compile()
    dispatcher.answer = error
    with inside(new_run()), pytest.raises(type(error)):
        graph.invoke({"text": ""})
    assert len(dispatcher.calls) == 1


def test_the_sdk_inside_a_langchain_program_is_not_taken_for_langchain(chat_model, sync_client, dispatcher, new_run):
    dispatcher.answer = DeadlineExceeded(run_id="r")
    with inside(new_run()), pytest.raises(openai.APITimeoutError) as caught:
        sync_client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
    check_clean(caught.value)


@EACH_ERROR
def test_crewai(dispatcher, new_run, error):
    crewai = pytest.importorskip("crewai")
    agent = crewai.Agent(role="r", goal="g", backstory="b", llm=crewai.LLM(model="gpt-4o-mini"))
    task = crewai.Task(description="d", expected_output="e", agent=agent)
    dispatcher.answer = error
    with inside(new_run()), pytest.raises(type(error)):
        crewai.Crew(agents=[agent], tasks=[task]).kickoff()
    assert len(dispatcher.calls) == 1


@EACH_ERROR
def test_llama_index(dispatcher, new_run, error):
    module = pytest.importorskip("llama_index.llms.openai")
    dispatcher.answer = error
    with inside(new_run()), pytest.raises(type(error)) as caught:
        module.OpenAI(model="gpt-4o-mini").complete("hi")
    check_clean(caught.value)
    assert len(dispatcher.calls) == 1


@EACH_ERROR
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_langroid(dispatcher, new_run, error, stream, monkeypatch):
    """It sleeps, longer each time, and repeats whatever is a TimeoutError or an APIError; a run's end is neither."""
    models = pytest.importorskip("langroid.language_models")
    dispatcher.answer = error
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it sleeps"))
    model = models.OpenAIGPT(models.OpenAIGPTConfig(chat_model="gpt-4o-mini", stream=stream, chat_context_length=999))
    with inside(new_run()), pytest.raises((type(error), OutOfTime)) as caught:
        model.chat([models.LLMMessage(role=models.Role.USER, content="hi")])
    assert type(vars(caught.value)["plain"]) is type(error)
    assert len(dispatcher.calls) == 1


@EACH_ERROR
def test_autogen(dispatcher, new_run, error):
    """Teams wrap every error in a RuntimeError of their own; its text has ours, and the decorator translates."""
    agents = pytest.importorskip("autogen_agentchat.agents")
    models = pytest.importorskip("autogen_ext.models.openai")
    from autogen_agentchat.conditions import MaxMessageTermination
    from autogen_agentchat.teams import RoundRobinGroupChat

    def agent():
        return agents.AssistantAgent("a", model_client=models.OpenAIChatCompletionClient(model="gpt-4o-mini"))

    dispatcher.answer = error
    with inside(new_run()):
        with pytest.raises(type(error)) as caught:
            asyncio.run(agent().run(task="hi"))
        check_clean(caught.value)
        team = RoundRobinGroupChat([agent()], termination_condition=MaxMessageTermination(3))
        with pytest.raises(RuntimeError, match=type(error).__name__):
            asyncio.run(team.run(task="hi"))
    assert len(dispatcher.calls) == 2


@EACH_ERROR
def test_openai_agents(dispatcher, new_run, error):
    agents = pytest.importorskip("agents")
    agents.set_tracing_disabled(True)
    dispatcher.answer = error
    with inside(new_run()), pytest.raises(type(error)) as caught:
        asyncio.run(agents.Runner.run(agents.Agent(name="a", instructions="i", model="gpt-4o-mini"), "hi"))
    check_clean(caught.value)
    assert len(dispatcher.calls) == 1


@EACH_ERROR
def test_litellm(dispatcher, new_run, error, monkeypatch):
    """It wraps every error and repeats, if told to, whatever it is: without ``num_retries`` there is one call."""
    litellm = pytest.importorskip("litellm")
    dispatcher.answer = error
    with inside(new_run()), pytest.raises(openai.APIError) as caught:
        litellm.completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
    assert isinstance(caught.value.__cause__ or caught.value.__context__, Exception)
    assert len(dispatcher.calls) == 1


@EACH_ERROR
def test_litellm_router(dispatcher, new_run, error):
    """It repeats a timeout or a connection error after sleeping, whatever is left of the run; a refusal it does not."""
    litellm = pytest.importorskip("litellm")
    dispatcher.answer = error
    named = {"model": "openai/gpt-4o-mini", "api_base": "http://127.0.0.1:9/v1", "api_key": "k"}
    router = litellm.Router(model_list=[{"model_name": "any", "litellm_params": named}], num_retries=2)
    with inside(new_run()), pytest.raises(openai.APIError):
        router.completion(model="any", messages=[{"role": "user", "content": "hi"}])
    assert len(dispatcher.calls) == 1
