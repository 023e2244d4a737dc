"""The plain OpenAI SDK, synchronous: one deadline over two calls, of which the second is a stream."""

from any_pool import AnyPool, any_pool
from openai import OpenAI

import agentsched as ags


def write_about(topic: str, pool: AnyPool) -> str:
    """Ordinary code: it names one server and one model and knows nothing of deadlines."""
    client = OpenAI(base_url=pool.base_url, api_key="none")
    outline = client.chat.completions.create(
        model=pool.model, max_tokens=40, messages=[{"role": "user", "content": f"Outline a note about {topic}."}]
    )
    text = outline.choices[0].message.content or ""
    stream = client.chat.completions.create(
        model=pool.model,
        max_tokens=80,
        stream=True,
        messages=[{"role": "user", "content": f"Write the note about {topic}. Outline: {text}"}],
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


@ags.workflow(slo=ags.SLO(deadline="30s"))
def in_time(topic: str, pool: AnyPool) -> str:
    note = write_about(topic, pool)
    run = ags.current()
    for decision in run.decisions:
        print(f"  {decision.endpoint}: {decision.why}, expected {decision.e2e_s:.2f} s")
    print(f"  {run.elapsed():.2f} s used, {run.remaining():.2f} s left")
    return note


@ags.workflow(slo="0.2s")
def far_too_late(topic: str, pool: AnyPool) -> str:
    return write_about(topic, pool)


if __name__ == "__main__":
    with any_pool() as pool:
        print("with 30 s:")
        print(" ", in_time("owls", pool)[:60], "...")
        print("with 0.2 s:")
        try:
            far_too_late("owls", pool)
        except ags.DeadlineExceeded as late:
            print(" ", late)
