"""A LangGraph program that crashes and is started again: its checkpoints go on, and so does its budget, not a new one.

When it is due is written into the checkpoints, as an instant: the time between crash and restart counts as well.

Needs, beside the packages of the demo: pip install langgraph-checkpoint-sqlite
"""

import os
import subprocess
import sys
import tempfile
import time
from typing import TypedDict

from any_pool import AnyPool, any_pool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph

import agentsched as ags

BUDGET_S = 30.0


class State(TypedDict, total=False):
    due: float
    text: str


def build_graph(pool: AnyPool, checkpoints: SqliteSaver, crash: bool):
    """Ordinary LangGraph: plan, search, write. The first time, the process dies while it searches."""
    model = ChatOpenAI(base_url=pool.base_url, model=pool.model, api_key="none", max_tokens=30)

    def node(name: str):
        def call(state: State) -> State:
            if crash and name == "search":
                print("  search: the process dies", flush=True)
                os._exit(70)
            return {"text": model.invoke(f"{name}: {state['text']}").text}

        return call

    graph = StateGraph(State)
    for name in ("plan", "search", "write"):
        graph.add_node(name, node(name))
    graph.add_edge(START, "plan").add_edge("plan", "search").add_edge("search", "write")
    return graph.compile(checkpointer=checkpoints)


def work(file: str, pool: AnyPool, *, crash: bool) -> None:
    thread = {"configurable": {"thread_id": "owls"}}
    with SqliteSaver.from_conn_string(file) as checkpoints:
        graph = build_graph(pool, checkpoints, crash)
        due = graph.get_state(thread).values.get("due")
        left = BUDGET_S if due is None else due - time.time()
        start = {"text": "owls", "due": time.time() + left} if due is None else None  # None: go on

        @ags.workflow(slo=ags.SLO(deadline=max(left, 0.001)), name="resumable")
        def run() -> None:
            print(f"  {ags.current().remaining():.2f} s left at the start", flush=True)
            graph.invoke(start, thread)
            steps = ", ".join(decision.step for decision in ags.current().decisions)
            print(f"  {steps}: done with {ags.current().remaining():.2f} s left", flush=True)

        run()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with any_pool() as pool:
            work(sys.argv[1], pool, crash=sys.argv[2] == "crash")
    else:
        with any_pool(), tempfile.TemporaryDirectory() as directory:
            for attempt in ("crash", "again"):
                print(f"{attempt}:", flush=True)
                subprocess.run([sys.executable, __file__, f"{directory}/checkpoints.db", attempt], check=False)
                time.sleep(0.5)
