"""A service with one line of middleware: its model calls end with the request's budget, which another process set.
Needs, beside the packages of the demo: pip install uvicorn"""

import asyncio
import json
import subprocess
import sys

import aiohttp
import uvicorn
from any_pool import AnyPool, any_pool
from openai import AsyncOpenAI

import agentsched as ags


async def app(scope, receive, send) -> None:
    """An ordinary ASGI application: it asks a model for three parts at once."""
    if scope["type"] != "http":
        return
    pool = AnyPool(*sys.argv[2:4])
    client = AsyncOpenAI(base_url=pool.base_url, api_key="none", max_retries=0)

    async def ask(part: str) -> str:
        messages = [{"role": "user", "content": f"The {part} of owls."}]
        reply = await client.chat.completions.create(model=pool.model, max_tokens=40, messages=messages)
        return reply.choices[0].message.content or ""

    texts = await asyncio.gather(*map(ask, ("past", "present", "future")))
    run = ags.current()
    told = {"parts": len(texts), "left": run and run.remaining(), "caller": run and run.remote_parent_id}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


class Server(uvicorn.Server):
    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


def serve() -> None:
    Server(uvicorn.Config(ags.AgentschedMiddleware(app), port=0, lifespan="off", log_level="warning")).run()


async def ask_service(url: str, deadline: str) -> None:
    @ags.workflow(slo=deadline)
    async def caller() -> None:
        async with aiohttp.ClientSession() as session, session.get(url, headers=ags.propagate()) as response:
            if response.status != 200:
                print(f"  {response.status}: {(await response.text()).strip()}")
                return
            told = await response.json()
        run = ags.current()
        print(f"  run {run.run_id}: {told['parts']} parts in {run.elapsed():.2f} s")
        print(f"  service: {told['left']:.1f} s were left of run {told['caller']}")

    try:
        await caller()
    except ags.DeadlineExceeded as late:
        print(" ", late)


def main() -> None:
    with any_pool() as pool:
        command = [sys.executable, __file__, "serve", pool.base_url, pool.model]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                url = f"http://127.0.0.1:{process.stdout.readline().strip()}/"
                for deadline in ("20s", "0.2s"):
                    print(f"with {deadline}:")
                    asyncio.run(ask_service(url, deadline))
            finally:
                process.terminate()


if __name__ == "__main__":
    serve() if sys.argv[1:2] == ["serve"] else main()
