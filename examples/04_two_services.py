"""Two processes, one deadline: a service that calls models itself stays inside the budget of who called it.

The caller sends what is left in W3C ``baggage``; the service takes it up. This one is an aiohttp handler; in an ASGI
application the middleware does it for every request: ``app = agentsched.AgentschedMiddleware(app)``.
"""

import asyncio
import subprocess
import sys

import aiohttp
from aiohttp import web
from any_pool import AnyPool, any_pool
from openai import AsyncOpenAI

import agentsched as ags


async def summarise(request: web.Request) -> web.Response:
    """The service's handler: its model call belongs to the caller's run and ends with it."""
    pool = AnyPool(*sys.argv[2:4])
    async with ags.attach(request.headers) as run:
        client = AsyncOpenAI(base_url=pool.base_url, api_key="none", max_retries=0)
        reply = await client.chat.completions.create(
            model=pool.model, max_tokens=40, messages=[{"role": "user", "content": await request.text()}]
        )
        left = f"{run.remaining():.1f} s left of the run that {run.remote_parent_id} began, step {run.step!r}"
        return web.json_response({"text": reply.choices[0].message.content, "left": left})


def serve() -> None:
    app = web.Application()
    app.router.add_post("/", summarise)
    web.run_app(app, host="127.0.0.1", port=0, print=lambda text: print(text, flush=True))


@ags.workflow(slo="20s")
async def answer(topic: str, service: str, pool: AnyPool) -> str:
    client = AsyncOpenAI(base_url=pool.base_url, api_key="none")
    reply = await client.chat.completions.create(
        model=pool.model, max_tokens=60, messages=[{"role": "user", "content": f"What is known about {topic}?"}]
    )
    run = ags.current()
    print(f"caller:  run {run.run_id}, {run.remaining():.1f} s left")
    with ags.step("summarise"):
        async with (
            aiohttp.ClientSession() as session,
            session.post(service, data=reply.choices[0].message.content, headers=ags.propagate()) as response,
        ):
            told = await response.json()
    print(f"service: {told['left']}")
    return told["text"]


def main() -> None:
    with any_pool() as pool:
        command = [sys.executable, __file__, "serve", pool.base_url, pool.model]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                url = process.stdout.readline().split()[3]  # ======== Running on http://127.0.0.1:40123 ========
                print(asyncio.run(answer("owls", url, pool))[:60], "...")
            finally:
                process.terminate()


if __name__ == "__main__":
    serve() if sys.argv[1:2] == ["serve"] else main()
