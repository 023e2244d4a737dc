"""AutoGen: a team that takes turns, and a graph whose branches run side by side, under one deadline each.

Needs, beside the packages of the demo: pip install -e '.[autogen]'
"""

import asyncio
import logging

from any_pool import AnyPool, any_pool
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import DiGraphBuilder, GraphFlow, RoundRobinGroupChat
from autogen_core.models import ModelFamily, ModelInfo
from autogen_ext.models.openai import OpenAIChatCompletionClient

import agentsched as ags

INFO = ModelInfo(
    vision=False, function_calling=True, json_output=True, structured_output=True, family=ModelFamily.UNKNOWN
)


def agent(name: str, pool: AnyPool) -> AssistantAgent:
    """Ordinary AutoGen."""
    client = OpenAIChatCompletionClient(
        model=pool.model, base_url=pool.base_url, api_key="none", max_tokens=30, model_info=INFO
    )
    return AssistantAgent(name, model_client=client, system_message=f"You are the {name}.")


@ags.workflow(slo="20s")
async def debate(topic: str, pool: AnyPool) -> None:
    team = RoundRobinGroupChat([agent("optimist", pool), agent("pessimist", pool)], max_turns=4)
    await team.run(task=f"Debate {topic}.")
    report()


@ags.workflow(slo=ags.SLO(deadline="20s", reserve={"write": "2s"}))
async def article(topic: str, pool: AnyPool) -> None:
    plan, past, present, write = members = [agent(name, pool) for name in ("plan", "past", "present", "write")]
    graph = DiGraphBuilder()
    for member in members:
        graph.add_node(member)
    graph.add_edge(plan, past).add_edge(plan, present).add_edge(past, write).add_edge(present, write)
    await GraphFlow(members, graph.build()).run(task=f"Write about {topic}.")
    report()


@ags.workflow(slo="0.3s")
async def hurried(topic: str, pool: AnyPool) -> None:
    await RoundRobinGroupChat([agent("optimist", pool), agent("pessimist", pool)], max_turns=40).run(task=topic)


def report() -> None:
    run = ags.current()
    print(" ", run.workflow, ", ".join(f"{decision.step} on {decision.endpoint}" for decision in run.decisions))
    print(f"  {run.elapsed():.2f} s of 20 s used")


async def main(pool: AnyPool) -> None:
    await debate("owls", pool)
    await article("owls", pool)
    try:
        await hurried("owls", pool)
    except ags.DeadlineExceeded as late:
        print("with 0.3 s:", late)


if __name__ == "__main__":
    logging.getLogger("autogen_core").setLevel(logging.CRITICAL)  # it logs every error that it passes on
    with any_pool() as pool:
        asyncio.run(main(pool))
