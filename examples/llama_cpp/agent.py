"""The agent: ordinary LangGraph on ordinary ChatOpenAI clients. plan -> three researchers side by side -> write."""

import operator
from collections.abc import Awaitable, Callable
from typing import Annotated, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send


class State(TypedDict, total=False):
    topic: str
    notes: Annotated[list[str], operator.add]
    answer: str


def client(base_url: str, model: str) -> ChatOpenAI:
    return ChatOpenAI(base_url=base_url, model=model, api_key="none", temperature=0, max_retries=0)


Agent = Callable[[str], Awaitable[str]]


def build_agent(next_client: Callable[[], ChatOpenAI]) -> Agent:
    """An agent that answers about a topic; ``next_client`` says whom the next call asks."""

    async def ask(question: str, max_tokens: int) -> str:
        return (await next_client().ainvoke(question, max_tokens=max_tokens)).text

    async def plan(state: State) -> State:
        await ask(f"List three questions about {state['topic']}.", 24)
        return {}

    async def research(state: State) -> State:
        return {"notes": [await ask(f"Tell me what is known about {state['topic']}.", 32)]}

    async def write(state: State) -> State:
        return {"answer": await ask("Sum this up in two sentences:\n" + "\n".join(state["notes"]), 48)}

    def researchers(state: State) -> list[Send]:
        return [
            Send("research", {"topic": f"the {part} of {state['topic']}"}) for part in ("past", "present", "future")
        ]

    graph = StateGraph(State)
    for node in (plan, research, write):
        graph.add_node(node)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", researchers, ["research"])
    graph.add_edge("research", "write")
    graph.add_edge("write", END)
    compiled = graph.compile()

    async def answer(topic: str) -> str:
        return (await compiled.ainvoke({"topic": topic, "notes": []}))["answer"]

    return answer
