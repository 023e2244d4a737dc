"""Where did the deadline go? Every decision is logged; `agentsched explain` and `report` read the log."""

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

from any_pool import AnyPool, any_pool
from openai import AsyncOpenAI

import agentsched as ags


@ags.workflow(slo=ags.SLO(deadline="8s"), name="research")
async def research(topic: str, pool: AnyPool) -> None:
    client = AsyncOpenAI(base_url=pool.base_url, api_key="none")

    async def ask(question: str, max_tokens: int) -> None:
        await client.chat.completions.create(
            model=pool.model, max_tokens=max_tokens, messages=[{"role": "user", "content": question}]
        )

    with ags.step("plan"):
        await ask(f"Plan research about {topic}.", 20)
    with ags.step("search"):
        await asyncio.sleep(0.3)  # a tool
        await asyncio.gather(*(ask(f"{topic}, source {number}", 60) for number in range(3)))
    with ags.step("write"):
        await ask(f"Write about {topic}.", 80)


def shell(*command: str) -> None:
    print("$", *command, flush=True)
    subprocess.run([sys.executable, "-m", *command], check=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "decisions.jsonl"
        with any_pool(log) as pool:
            for topic in ("owls", "eels"):
                with contextlib.suppress(ags.DeadlineExceeded):  # a late run is worth explaining, too
                    asyncio.run(research(topic, pool))
        if not log.exists():
            raise SystemExit("the pool that AGENTSCHED_CONFIG names logs elsewhere: agentsched explain last --log ...")
        shell("agentsched", "explain", "worst", "--log", str(log))
        shell("agentsched", "report", str(log))
