"""A CrewAI crew: two tasks side by side, one that waits for both. Every task and agent is a step with a name.

Needs, beside the packages of the demo: pip install -e '.[crewai]'
"""

import os

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "OTEL_SDK_DISABLED": "true"}

from any_pool import AnyPool, any_pool
from crewai import LLM, Agent, Crew, Task

import agentsched as ags


def build_crew(pool: AnyPool) -> Crew:
    """Ordinary CrewAI."""
    model = LLM(model=pool.model, provider="openai", base_url=pool.base_url, api_key="none", max_tokens=40)

    def agent(role: str) -> Agent:
        return Agent(role=role, goal="Inform the reader.", backstory="You are thorough.", llm=model)

    historian, biologist, writer = agent("{topic} Historian"), agent("Biologist"), agent("Writer")
    past = Task(
        name="past",
        description="The past of {topic}.",
        expected_output="notes",
        agent=historian,
        async_execution=True,
    )
    present = Task(
        name="present",
        description="How {topic} live.",
        expected_output="notes",
        agent=biologist,
        async_execution=True,
    )
    article = Task(
        name="article",
        description="Write about {topic}.",
        expected_output="text",
        agent=writer,
        context=[past, present],
    )
    return Crew(agents=[historian, biologist, writer], tasks=[past, present, article])


@ags.workflow(slo=ags.SLO(deadline="30s", reserve={"article/Writer": "3s"}))
def write(topic: str, pool: AnyPool) -> str:
    text = build_crew(pool).kickoff({"topic": topic}).raw
    for decision in ags.current().decisions:
        print(f"  {decision.step:25} -> {decision.endpoint}")
    print(f"  {ags.current().elapsed():.2f} s of 30 s used")
    return text


@ags.workflow(slo="0.2s")
def hurried(topic: str, pool: AnyPool) -> str:
    return build_crew(pool).kickoff({"topic": topic}).raw


if __name__ == "__main__":
    with any_pool() as pool:
        print(write("owls", pool)[:60], "...")
        try:
            hurried("eels", pool)
        except ags.DeadlineExceeded as late:
            print("with 0.2 s:", late)
