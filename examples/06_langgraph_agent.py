"""A ReAct agent of LangChain: it asks its model and its tools in turn until there is an answer or the time is spent.

Needs, beside the packages of the demo: pip install langchain
"""

import time

from any_pool import AnyPool, any_pool
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

import agentsched as ags
from agentsched_langgraph import DeadlineMiddleware


@tool
def look_up(topic: str) -> str:
    """Look a topic up."""
    time.sleep(0.2)
    return f"{topic}: see the encyclopedia."


def ask(question: str, pool: AnyPool) -> str:
    """Ordinary LangChain. The middleware is optional: with it no tool starts once the time is spent."""
    model = ChatOpenAI(base_url=pool.base_url, model=pool.model, api_key="none", max_tokens=40)
    agent = create_agent(model, [look_up], middleware=[DeadlineMiddleware()])
    # An emulated model calls a tool when it is told to; a real one takes the mark for noise.
    return agent.invoke({"messages": [("user", f"{question} [[tool=look_up]]")]})["messages"][-1].text


@ags.workflow(slo=ags.SLO(deadline="20s"))
def answer(question: str, pool: AnyPool) -> str:
    text = ask(question, pool)
    for decision in ags.current().decisions:
        print(f"  {decision.step:6} -> {decision.endpoint}")
    print(f"  {ags.current().elapsed():.2f} s of 20 s used")
    return text


@ags.workflow(slo="0.3s")
def hurried(question: str, pool: AnyPool) -> str:
    return ask(question, pool)


if __name__ == "__main__":
    with any_pool() as pool:
        print(answer("What do owls eat?", pool)[:60], "...")
        try:
            hurried("What do eels eat?", pool)
        except ags.DeadlineExceeded as late:
            print("with 0.3 s:", late)
