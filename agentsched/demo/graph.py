"""The agent: an ordinary LangGraph program that knows nothing of agentsched.

plan -> research every topic side by side (Send) -> review -> research again what the review names, or write.
"""

import operator
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypedDict

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from agentsched.demo.cases import SYSTEM_PROMPT, Case

__all__ = ["Agent", "NextModel", "build_agent"]

NextModel = Callable[[], ChatOpenAI]
"""Gives the client for the next call."""

Agent = Callable[[Case], Awaitable[str]]
"""Answers a case."""


class State(TypedDict, total=False):
    """What the nodes pass on."""

    case: Case
    topics: list[str]
    turn: int
    topic: str
    notes: Annotated[list[str], operator.add]
    answer: str


def build_agent(next_model: NextModel) -> Agent:
    """Compile the graph; ``next_model`` is the only thing that an arm may choose."""

    async def ask(case: Case, key: str, *notes: str) -> str:
        return (await next_model().ainvoke(_prompt(case, key, notes))).text

    async def plan(state: State) -> State:
        said = await ask(state["case"], "plan")
        return {"topics": _listed(said), "turn": 0}

    async def research(state: State) -> State:
        return {"notes": [await ask(state["case"], f"research/{state['topic']}/{state['turn']}")]}

    async def review(state: State) -> State:
        said = await ask(state["case"], f"review/{state['turn']}", *state["notes"])
        return {"topics": _listed(said) if said.startswith("REVISE") else [], "turn": state["turn"] + 1}

    async def write(state: State) -> State:
        # The reader sees the answer grow, so this call is a stream.
        pieces = [chunk.text async for chunk in next_model().astream(_prompt(state["case"], "write", state["notes"]))]
        return {"answer": "".join(pieces)}

    graph = StateGraph(State)
    for node in (plan, research, review, write):
        graph.add_node(node)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", _researchers, ["research", "write"])
    graph.add_edge("research", "review")
    graph.add_conditional_edges("review", _researchers, ["research", "write"])
    graph.add_edge("write", END)
    compiled: Any = graph.compile()

    async def answer(case: Case) -> str:
        final = await compiled.ainvoke({"case": case, "notes": []})
        return str(final["answer"])

    return answer


def _researchers(state: State) -> list[Send] | str:
    """One researcher for every topic that is open; the writer if none is."""
    at = {"case": state["case"], "turn": state["turn"]}
    return [Send("research", {**at, "topic": topic}) for topic in state["topics"]] or "write"


def _listed(said: str) -> list[str]:
    """``TOPICS: costs, risks.`` -> the topics."""
    found = re.match(r"[A-Z]+: ([a-z, ]+)\.", said)
    return found.group(1).split(", ") if found else []


def _prompt(case: Case, key: str, notes: "list[str] | tuple[str, ...]") -> list[BaseMessage]:
    lines = (case.question, key, *notes, case.material[key])
    return [SystemMessage(SYSTEM_PROMPT), HumanMessage("\n".join(lines))]
