"""LangGraph: a graph with a fan-out, an agent with a tool."""

import operator
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from langgraph.types import Send

from tests.frameworks.harness import MODEL, Program


class State(TypedDict, total=False):
    prompt: str
    notes: Annotated[list[str], operator.add]


def _node() -> Any:
    model = ChatOpenAI(model=MODEL)
    return RunnableLambda(
        lambda state: {"notes": [model.invoke(state["prompt"]).text]},
        afunc=lambda state: _answer(model, state),
    )


async def _answer(model: ChatOpenAI, state: State) -> State:
    return {"notes": [(await model.ainvoke(state["prompt"])).text]}


def _graph() -> Any:
    def parts(state: State) -> list[Send]:
        return [Send("research", {"prompt": state["prompt"]}) for _ in range(2)]

    graph = StateGraph(State)
    for name in ("plan", "research", "write"):
        graph.add_node(name, _node())
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", parts, ["research"])
    graph.add_edge("research", "write")
    return graph.compile()


def sync(prompt: str) -> object:
    return _graph().invoke({"prompt": prompt, "notes": []})


def sync_stream(prompt: str) -> object:
    return list(_graph().stream({"prompt": prompt, "notes": []}, stream_mode="messages"))


async def aio(prompt: str) -> object:
    return await _graph().ainvoke({"prompt": prompt, "notes": []})


async def aio_stream(prompt: str) -> object:
    return [item async for item in _graph().astream({"prompt": prompt, "notes": []}, stream_mode="messages")]


def _agent(prompt: str) -> Any:
    from langchain.agents import create_agent

    @tool
    def look() -> str:
        """Look it up."""
        return ChatOpenAI(model=MODEL).invoke(prompt).text

    return create_agent(ChatOpenAI(model=MODEL), [look])


def agent(prompt: str) -> object:
    return _agent(prompt).invoke({"messages": [("user", f"{prompt} [[tool=look]]")]})


async def aagent(prompt: str) -> object:
    return await _agent(prompt).ainvoke({"messages": [("user", f"{prompt} [[tool=look]]")]})


PROGRAM = Program(
    "LangGraph",
    "langgraph",
    frozenset({"plan", "research", "write", "model", "tools"}),
    sync=sync,
    sync_stream=sync_stream,
    aio=aio,
    aio_stream=aio_stream,
    own={"agent with a tool": agent, "agent with a tool, async": aagent},
)
