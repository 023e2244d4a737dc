"""Probing one endpoint: which requests are sent, in which order, and what their answers say of it."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from agentsched.cli.probe_abilities import ABILITIES, Finding, find
from agentsched.cli.probe_calls import Caller, NotStreamed, Refused
from agentsched.cli.probe_fit import Figures, Sample, fit
from agentsched.core.endpoint import CAPABILITIES, Endpoint
from agentsched.settings.dump import profile_figures
from agentsched.settings.edit import EditableValue

__all__ = ["Plan", "Probed", "changes_for", "probe"]

_CHARACTERS_PER_TOKEN = 4
_TASK = "Write the numbers from one to two hundred in words, with commas between them and nothing else."
_WORDS = "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa "
_CONTEXT_KEYS = ("max_model_len", "context_length", "context_window", "max_context_length")
_ABILITY_TOKENS = 100
_TOO_LONG = frozenset({400, 413, 422, 500})


@dataclass(frozen=True, slots=True)
class Plan:
    """How many requests are sent, and how large they are. Sizes in tokens, roughly.

    Attributes:
        short: small prompts, one at a time.
        together: small prompts at once; an endpoint's ``max_concurrency`` may lower it.
        long: long prompts, one at a time.
        short_tokens: size of the small prompts.
        long_tokens: sizes of the long prompts that are tried until one is taken.
        output_tokens: cap on the answers to small prompts.
        long_output_tokens: cap on the answers to long prompts.
    """

    short: int = 3
    together: int = 4
    long: int = 2
    short_tokens: int = 40
    long_tokens: tuple[int, ...] = (2000, 500)
    output_tokens: int = 32
    long_output_tokens: int = 8

    @property
    def requests(self) -> int:
        """How many requests an endpoint gets, if none has to be repeated."""
        return 2 + self.short + self.together + self.long + len(ABILITIES)

    @property
    def steps(self) -> int:
        """How often `probe` reports progress."""
        return 2 + self.short + 1 + self.long + len(ABILITIES)

    def cost_usd(self, endpoint: Endpoint) -> float:
        """What probing this endpoint will cost at most, by its price."""
        small = 1 + self.short + self.together
        prompts = small * self.short_tokens + self.long * self.long_tokens[0] + len(ABILITIES) * _ABILITY_TOKENS
        answers = small * self.output_tokens + self.long * self.long_output_tokens
        answers += sum(ability.output_tokens for ability in ABILITIES)
        return endpoint.price.cost_usd(prompts, answers)


@dataclass(slots=True)
class Probed:
    """What was found out about one endpoint.

    Attributes:
        endpoint: which.
        reachable: whether it answered a model request.
        detail: why not.
        listed: whether its model list has the model; None: it has no list.
        context_tokens: what it says of its context length.
        stream: whether it streams.
        usage: whether a stream ends with the token counts.
        figures: its speed.
        abilities: what it can do, by name.
        requests, input_tokens, output_tokens: what the probe used.
    """

    endpoint: Endpoint
    reachable: bool = False
    detail: str = ""
    listed: bool | None = None
    context_tokens: int | None = None
    stream: Finding = field(default_factory=lambda: Finding(None))
    usage: Finding = field(default_factory=lambda: Finding(None))
    figures: Figures = field(default_factory=Figures)
    abilities: dict[str, Finding] = field(default_factory=dict)
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def cost_usd(self) -> float:
        """What the probe cost, by the endpoint's price."""
        return self.endpoint.price.cost_usd(self.input_tokens, self.output_tokens)


@dataclass(slots=True)
class _Way:
    """How this endpoint wants a chat request: names differ between servers and models."""

    limit: str = "max_tokens"
    ask_usage: bool = True

    def body(self, tokens: int, output_tokens: int) -> dict[str, Any]:
        prompt = f"[{secrets.token_hex(8)}] {_TASK}"  # different from the start, so that no prefix cache helps
        missing = tokens * _CHARACTERS_PER_TOKEN - len(prompt)
        if missing > 0:
            prompt += (" Ignore the following words. " + _WORDS * (missing // len(_WORDS) + 1))[:missing]
        body: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}], self.limit: output_tokens}
        return {**body, "stream_options": {"include_usage": True}} if self.ask_usage else body


_WAYS = (("max_tokens", True), ("max_completion_tokens", True), ("max_tokens", False), ("max_completion_tokens", False))


async def probe(
    endpoint: Endpoint,
    http: aiohttp.ClientSession,
    plan: Plan,
    *,
    on_step: Callable[[str], None] = lambda what: None,
    first_wait_s: float = 0.5,
) -> Probed:
    """Probe one endpoint with a bounded number of real requests; problems are findings, nothing is raised.

    Args:
        endpoint: which.
        http: connections, see `probe_calls.session`.
        plan: how much is sent.
        on_step: called before each step with what it is.
        first_wait_s: wait before a failed request is repeated, doubled each time, seconds.
    """
    caller = Caller(endpoint, http, first_wait_s=first_wait_s)
    found = Probed(endpoint)
    on_step("model list")
    await _look_up(caller, found)
    on_step("first request")
    way = await _first_request(caller, plan, found)
    if way is not None:
        if found.stream.able:
            await _measure(caller, plan, way, found, on_step)
        for ability in ABILITIES:
            on_step(ability.name)
            found.abilities[ability.name] = await find(caller, ability, way.limit)
    found.requests, found.input_tokens, found.output_tokens = caller.requests, caller.input_tokens, caller.output_tokens
    return found


async def _look_up(caller: Caller, found: Probed) -> None:
    try:
        entries = await caller.models()
    except Refused:
        return  # many servers have no list; whether they can be reached, the first request tells
    entry = next((entry for entry in entries if entry.get("id", entry.get("name")) == caller.endpoint.model), None)
    found.listed = entry is not None
    found.context_tokens = None if entry is None else _context_tokens(entry)


def _context_tokens(entry: Mapping[str, Any]) -> int | None:
    """The context length in an entry of a model list: every server has its own word for it."""
    meta = entry.get("meta")
    told = [entry.get(key) for key in _CONTEXT_KEYS] + ([meta.get("n_ctx")] if isinstance(meta, dict) else [])
    return next((count for count in told if isinstance(count, int) and count > 0), None)


async def _first_request(caller: Caller, plan: Plan, found: Probed) -> _Way | None:
    """Find the way in which the endpoint takes a streamed request, else whether it takes one at all."""
    refusal: Refused | None = None
    for limit, ask_usage in _WAYS:
        way = _Way(limit, ask_usage)
        try:
            sample = await caller.stream("chat/completions", way.body(plan.short_tokens, plan.output_tokens))
        except Refused as error:
            refusal = refusal or error
            if error.status in (400, 422):
                continue
            break
        found.reachable, found.stream = True, Finding(True)
        found.usage = Finding(ask_usage and sample.output_tokens is not None)
        return way
    assert refusal is not None
    found.detail = str(refusal)
    if refusal.status not in (200, 400, 422, 501):
        return None
    return await _without_stream(caller, plan, found, refusal)


async def _without_stream(caller: Caller, plan: Plan, found: Probed, refusal: Refused) -> _Way | None:
    certain = isinstance(refusal, NotStreamed) or refusal.status != 200
    found.stream = Finding(False if certain else None, str(refusal))
    for limit in ("max_tokens", "max_completion_tokens"):
        way = _Way(limit, ask_usage=False)
        try:
            await caller.call("chat/completions", way.body(plan.short_tokens, plan.output_tokens))
        except Refused:
            continue
        found.reachable, found.detail = True, ""
        return way
    return None


async def _measure(caller: Caller, plan: Plan, way: _Way, found: Probed, on_step: Callable[[str], None]) -> None:
    short: list[Sample] = []
    for _ in range(plan.short):
        on_step("small prompt")
        short += await _samples(caller, way.body(plan.short_tokens, plan.output_tokens))
    at_once = min(plan.together, caller.endpoint.max_concurrency or plan.together)
    on_step(f"{at_once} at once")
    together: list[Sample] = []
    if at_once > 1:
        bodies = [way.body(plan.short_tokens, plan.output_tokens) for _ in range(at_once)]
        for samples in await asyncio.gather(*(_samples(caller, body) for body in bodies)):
            together += samples
    size, long = await _long(caller, plan, way, found, on_step)
    found.figures = fit(short, together, long, short_tokens=plan.short_tokens, long_tokens=size)


async def _long(
    caller: Caller, plan: Plan, way: _Way, found: Probed, on_step: Callable[[str], None]
) -> tuple[int, list[Sample]]:
    """Answers to long prompts, and the size in tokens that was taken."""
    context = caller.endpoint.context_tokens or found.context_tokens
    sizes = [size for size in plan.long_tokens if context is None or 2 * size <= context]
    samples: list[Sample] = []
    for index in range(plan.long):
        on_step("long prompt")
        while sizes:
            try:
                body = way.body(sizes[0], plan.long_output_tokens)
                samples.append(await caller.stream("chat/completions", body))
                break
            except Refused as error:
                if index > 0 or error.status not in _TOO_LONG:
                    break
                sizes = sizes[1:]
    return (sizes[0] if sizes else 0), samples


async def _samples(caller: Caller, body: Mapping[str, Any]) -> list[Sample]:
    try:
        return [await caller.stream("chat/completions", body)]
    except Refused:
        return []  # one lost sample; the fit says what is left to be said


def changes_for(found: Probed) -> dict[str, EditableValue]:
    """What the configuration of the endpoint should say instead; empty when nothing was learned."""
    changes: dict[str, EditableValue] = {}
    if not found.reachable:
        return changes
    endpoint, measured = found.endpoint, found.figures.profile()
    if measured:
        changes["profile"] = {**profile_figures(endpoint.profile), **measured}
    declared = {name for name in CAPABILITIES if endpoint.can(frozenset({name}))}
    findings = {**found.abilities, "stream": found.stream}
    able = {name for name, finding in findings.items() if finding.able and name in CAPABILITIES}
    unable = {name for name, finding in findings.items() if finding.able is False}
    if (declared | able) - unable != declared:
        changes["capabilities"] = sorted((declared | able) - unable)
    if found.context_tokens is not None and endpoint.context_tokens is None:
        changes["context_tokens"] = found.context_tokens
    ordered = found.abilities.get("priority", Finding(None)).able
    if ordered is not None and ordered != endpoint.priority:
        changes["priority"] = ordered
    return changes
