"""Answers that break off on one real server and go on at another: python examples/llama_cpp/seam.py [--json]

Two llama.cpp servers with the same weights, temperature 0. In front of each stands a door that passes everything on and
cuts every answer that is begun (not one that goes on) after some of its words. What the caller gets is compared with
what the two servers said and with the unbroken answer. The first three checks must hold for every answer; how often the
whole is the very text of the unbroken answer (the identity rate) is a property of the servers, and is reported: they
see the beginning as text and cut it into tokens anew.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import openai
from aiohttp import ClientSession, web
from engines import MODEL, WORK, prepare, servers

import agentsched as ags

QUESTIONS = (
    "Tell me about owls.",
    "How is tea made?",
    "Why do volcanoes erupt?",
    "Write a short poem about rain.",
    "Name five cities in Europe and say a word about each.",
    "What does a bicycle need?",
)
CUTS = (1, 2, 5, 11, 23)
"""After so many events with text an answer is cut."""
MAX_TOKENS = 40


@dataclass
class Answer:
    """What got out of one answer, piece by piece; ``before``: the beginning that it was to go on with, if it was."""

    before: str | None
    pieces: list[str] = field(default_factory=list)


@dataclass
class Door:
    """Stands in front of a server, keeps what it passes on of each answer, and cuts answers that are begun."""

    url: str
    cut_after: int | None = None
    passed: list[Answer] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body, cut_after = await request.json(), self.cut_after
        last = body["messages"][-1]
        passed = Answer(last["content"] if last["role"] == "assistant" else None)
        self.passed.append(passed)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        with suppress(ConnectionError):  # the client may leave: on a busy machine a slow answer is left for another
            async with ClientSession() as session, session.post(f"{self.url}{request.path}", json=body) as upstream:
                await response.prepare(request)
                async for line in upstream.content:
                    if text := _text(line):
                        passed.pieces.append(text)
                    await response.write(line)
                    if line == b"\n" and len(passed.pieces) == cut_after and passed.before is None:
                        await asyncio.sleep(0.05)  # what was written has been read when the connection ends
                        assert request.transport is not None
                        request.transport.close()
                        break
        return response


def _text(line: bytes) -> str:
    if not line.startswith(b"data: {"):
        return ""
    choices = json.loads(line[6:]).get("choices") or [{}]
    return choices[0].get("delta", {}).get("content") or ""


@asynccontextmanager
async def opened(door: Door) -> AsyncIterator[str]:
    """Serve a door; gives its base URL."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", door.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def ask(question: str, *, stream: bool) -> tuple[str, bool]:
    """An answer's text, and whether it came as one valid answer: one id, one role, one end."""
    client = openai.AsyncOpenAI(base_url="http://127.0.0.1:9/v1", api_key="none")
    asked: dict[str, Any] = {"model": MODEL, "temperature": 0, "max_tokens": MAX_TOKENS}
    messages = [{"role": "user", "content": question}]
    async with client:
        if not stream:
            whole = await client.chat.completions.create(messages=messages, **asked)
            message = whole.choices[0].message
            good = message.role == "assistant" and whole.choices[0].finish_reason in ("stop", "length")
            return message.content or "", good and whole.usage is not None
        chunks = [one async for one in await client.chat.completions.create(messages=messages, stream=True, **asked)]
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    roles = sum(choice.delta.role is not None for choice in choices)
    ends = sum(choice.finish_reason is not None for choice in choices)
    return "".join(c.delta.content or "" for c in choices), (len({c.id for c in chunks}), roles, ends) == (1, 1, 1)


async def compared(doors: list[Door], question: str, cut_after: int, unbroken: str, *, stream: bool) -> dict[str, Any]:
    """One answer that is cut once, against what the servers said and against the unbroken one."""
    for door in doors:
        door.cut_after, door.passed = cut_after, []
    text, valid = await ask(question, stream=stream)
    passed = [answer for door in doors for answer in door.passed]
    begun = ["".join(answer.pieces) for answer in passed if answer.before is None]
    return {
        "valid": valid,
        "prefix": any(text.startswith(beginning) for beginning in begun),
        "seamless": any(text in _joined(answer, passed) for answer in passed if answer.before is not None),
        "identical": text == unbroken,
    }


def _joined(answer: Answer, passed: list[Answer]) -> set[str]:
    """The beginning that a server was sent, if another one wrote it, and what it added.

    Whitespace at the end of the beginning is not sent along: the server says it again, or it does not.
    """
    before, added = answer.before or "", "".join(answer.pieces)
    others = [(one.before or "") + "".join(one.pieces) for one in passed if one is not answer]
    if not any(other.startswith(before) for other in others):
        return set()
    spaced = {other + added.removeprefix(other[len(before) :]) for other in others if other.rstrip() == before}
    return spaced | {before + added}


async def compare() -> list[dict[str, Any]]:
    """All questions, cut everywhere, as streams and as whole answers."""
    models = prepare()
    with servers({"one": models["q8"], "other": models["q8"]}) as running:
        doors = [Door(server.url) for server in running.values()]
        async with opened(doors[0]) as one, opened(doors[1]) as other:
            urls = {"one": one, "other": other}
            endpoints = [{"name": n, "base_url": u, "model": MODEL, "kind": "llama_cpp"} for n, u in urls.items()]
            # Every answer breaks off here, which no budget of retries is made for, and every one has to be a stream for
            # that, also where the machine is so fast that whole answers are expected within a second.
            rules = {"retry": {"budget": 1}, "stream": {"upgrade_from": 0}}
            pool = WORK / "seam.yaml"
            pool.write_text(json.dumps({"version": 1, "endpoints": endpoints, **rules}))
            asked = ags.workflow(slo="1800s", name="seam", pool=str(pool))(_all)
            return await asked(doors)


async def _all(doors: list[Door]) -> list[dict[str, Any]]:
    found = []
    for question in QUESTIONS:
        for door in doors:
            door.cut_after = None
        unbroken, _ = await ask(question, stream=True)
        for cut_after in CUTS:
            for stream in (True, False):
                found.append(await compared(doors, question, cut_after, unbroken, stream=stream))
    return found


def main() -> None:
    """Compare, report, and end with status 1 if a check fails."""
    found = asyncio.run(compare())
    counts = {name: sum(one[name] for one in found) for name in ("valid", "prefix", "seamless", "identical")}
    if "--json" in sys.argv[1:]:
        print(json.dumps({"answers": len(found), **counts}))
    else:
        print(f"answers that were cut once: {len(found)}")
        print(f"  one valid answer:                      {counts['valid']}")
        print(f"  what was delivered stayed as it was:   {counts['prefix']}")
        print(f"  nothing lost or repeated at the seam:  {counts['seamless']}")
        print(
            f"  identical with the unbroken answer:    {counts['identical']} ({counts['identical'] / len(found):.0%})"
        )
    if min(counts["valid"], counts["prefix"], counts["seamless"]) < len(found):
        sys.exit(1)


if __name__ == "__main__":
    main()
