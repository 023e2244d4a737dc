"""AsyncOpenAI: calls side by side, a tighter deadline for one part, and what the code may say about itself."""

import asyncio

from any_pool import AnyPool, any_pool
from openai import AsyncOpenAI

import agentsched as ags

PARTS = ("past", "present", "future", "diet")


@ags.workflow(slo=ags.SLO(deadline="30s"))
async def report(topic: str, pool: AnyPool) -> str:
    client = AsyncOpenAI(base_url=pool.base_url, api_key="none")

    async def ask(question: str, max_tokens: int) -> str:
        reply = await client.chat.completions.create(
            model=pool.model, max_tokens=max_tokens, messages=[{"role": "user", "content": question}]
        )
        return reply.choices[0].message.content or ""

    ags.hint(expected_calls=2)  # one after the other: the four at once, then the summary
    with ags.step("research"):
        notes = await asyncio.gather(*(ask(f"What is the {part} of {topic}?", 60) for part in PARTS))
    print(f"  after research: {ags.current().remaining():.2f} s left")

    try:
        with ags.step("illustrate"):
            # Nice to have: it may take a tenth of a second and not more. The run goes on without it.
            async with ags.deadline("0.1s"):
                notes.append(await ask(f"Describe a picture of {topic}.", 400))
    except ags.DeadlineExceeded:
        print("  no picture: its 0.1 s were over")

    with ags.step("write"):
        text = await ask("Sum up:\n" + "\n".join(notes), 60)
    for step, seconds in ags.current().spent_s:
        print(f"  {step}: {seconds:.2f} s of model time")
    return text


if __name__ == "__main__":
    with any_pool() as pool:
        print(asyncio.run(report("owls", pool))[:60], "...")
