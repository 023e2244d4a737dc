"""A LangGraph program: decorated where it is called, and every node a step with a name."""

import operator
from typing import Annotated, TypedDict

from any_pool import AnyPool, any_pool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Send

import agentsched as ags


class State(TypedDict, total=False):
    topic: str
    notes: Annotated[list[str], operator.add]
    answer: str


def build_graph(pool: AnyPool) -> CompiledStateGraph:
    """Ordinary LangGraph: plan, three researchers side by side, write."""
    model = ChatOpenAI(base_url=pool.base_url, model=pool.model, api_key="none", max_tokens=50)

    def plan(state: State) -> State:
        model.invoke(f"Plan research about {state['topic']}.")
        return {}

    def research(state: State) -> State:
        return {"notes": [model.invoke(f"What is known about {state['topic']}?").text]}

    def write(state: State) -> State:
        return {"answer": model.invoke("Sum up:\n" + "\n".join(state["notes"])).text}

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
    return graph.compile()


@ags.workflow(slo=ags.SLO(deadline="30s", percentile=0.95, reserve={"write": "3s"}))
def answer(topic: str, pool: AnyPool) -> str:
    found = build_graph(pool).invoke({"topic": topic, "notes": []})["answer"]
    run = ags.current()
    for decision in run.decisions:
        print(f"  {decision.step:10} -> {decision.endpoint}")
    print(f"  {run.elapsed():.2f} s of 30 s used")
    return found


if __name__ == "__main__":
    with any_pool() as pool:
        print(answer("owls", pool)[:60], "...")
