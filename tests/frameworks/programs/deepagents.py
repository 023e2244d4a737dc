"""What is built on LangGraph: deep agents and their subagents, supervisors, swarms."""

from typing import Any

from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langgraph_supervisor import create_supervisor
from langgraph_swarm import create_handoff_tool, create_swarm

from tests.frameworks.harness import MODEL, Program


def _input(prompt: str) -> dict[str, Any]:
    return {"messages": [("user", prompt)]}


def _agent(**options: Any) -> Any:
    return create_deep_agent(model=ChatOpenAI(model=MODEL), tools=[], **options)


def sync(prompt: str) -> object:
    return _agent().invoke(_input(prompt))


def sync_stream(prompt: str) -> object:
    return list(_agent().stream(_input(prompt), stream_mode="messages"))


async def aio(prompt: str) -> object:
    return await _agent().ainvoke(_input(prompt))


async def aio_stream(prompt: str) -> object:
    return [event async for event in _agent().astream_events(_input(prompt), version="v2")]


def subagent(prompt: str) -> object:
    critic = {"name": "critic", "description": "It criticises.", "system_prompt": "Criticise."}
    return _agent(subagents=[critic]).invoke(_input(f"{prompt} [[tool=task]]"))


def supervisor(prompt: str) -> object:
    model = ChatOpenAI(model=MODEL)
    workers = [create_agent(model, [], name=name) for name in ("alice", "bob")]
    return create_supervisor(workers, model=model).compile().invoke(_input(f"{prompt} [[tool=transfer_to_alice]]"))


def swarm(prompt: str) -> object:
    model = ChatOpenAI(model=MODEL)
    alice = create_agent(model, [create_handoff_tool(agent_name="bob")], name="alice")
    bob = create_agent(model, [], name="bob")
    made = create_swarm([alice, bob], default_active_agent="alice").compile()
    return made.invoke(_input(f"{prompt} [[tool=transfer_to_bob]]"))


PROGRAM = Program(
    "Deep Agents",
    "deepagents",
    frozenset({"model", "supervisor/agent", "alice/model", "bob/model"}),
    sync=sync,
    sync_stream=sync_stream,
    aio=aio,
    aio_stream=aio_stream,
    own={"subagent": subagent, "supervisor": supervisor, "swarm": swarm},
)
