"""A second, naive implementation of the step model: one step at a time, everything recomputed, no prefix cache."""

from __future__ import annotations

from dataclasses import dataclass

from agentsched.engine import HardwareProfile, Request


@dataclass
class _Entry:
    request: Request
    order: int
    generated: int = 0
    prefilled: int = 0
    held: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        return self.request.priority, self.order

    @property
    def context(self) -> int:
        return self.request.prompt_tokens + self.generated


def reference_times(
    profile: HardwareProfile, arrivals: list[tuple[float, Request]], slowdown: tuple[float, float, float] | None = None
) -> dict[str, list[float]]:
    """Return the instants of every request's tokens."""
    pending = sorted(
        ((at + profile.frontend_s, order, request) for order, (at, request) in enumerate(arrivals)),
        key=lambda item: item[:2],
    )
    waiting: list[_Entry] = []
    running: list[_Entry] = []
    times: dict[str, list[float]] = {request.request_id: [] for _, request in arrivals}
    now, order = 0.0, 0
    while pending or waiting or running:
        if not waiting and not running:
            now = max(now, pending[0][0])
        while pending and pending[0][0] <= now:
            order += 1
            waiting.append(_Entry(pending.pop(0)[2], order))
        waiting.sort(key=lambda entry: entry.rank)
        _admit(profile, waiting, running)
        parts, decoding = _batch(profile, running)
        while _held(running) + len(decoding) + _completing(parts) > profile.kv_tokens:
            victim = max(running, key=lambda entry: entry.rank)
            running.remove(victim)
            victim.held = victim.prefilled = 0
            waiting.append(victim)
            parts, decoding = _batch(profile, running)
        now += _seconds(profile, parts, decoding) * _factor(now, slowdown)
        for entry, tokens in parts:
            entry.prefilled += tokens
        gained = [*decoding, *(entry for entry, _ in parts if entry.prefilled == entry.context)]
        for entry in gained:
            entry.generated += 1
            entry.prefilled = entry.context
            entry.held += 1
            times[entry.request.request_id].append(now)
        running = [entry for entry in running if entry.generated < entry.request.output_tokens]
    return times


def _admit(profile: HardwareProfile, waiting: list[_Entry], running: list[_Entry]) -> None:
    while waiting and len(running) < profile.max_slots:
        reserve = int(profile.kv_watermark * profile.kv_tokens) if running else 0
        if _held(running) + waiting[0].context + 1 > profile.kv_tokens - reserve:
            return
        entry = waiting.pop(0)
        entry.held, entry.prefilled = entry.context, 0
        running.append(entry)


def _batch(profile: HardwareProfile, running: list[_Entry]) -> tuple[list[tuple[_Entry, int]], list[_Entry]]:
    decoding = [entry for entry in running if entry.prefilled == entry.context]
    parts, budget = [], profile.prefill_chunk_tokens
    for entry in running:
        if entry.prefilled < entry.context and budget:
            tokens = min(budget, entry.context - entry.prefilled)
            parts.append((entry, tokens))
            budget -= tokens
    return parts, decoding


def _seconds(profile: HardwareProfile, parts: list[tuple[_Entry, int]], decoding: list[_Entry]) -> float:
    seconds = profile.step_base_s + profile.step_per_sequence_s * len(decoding)
    seconds += profile.step_per_kv_token_s * sum(entry.context for entry in decoding)
    prompt = sum(tokens for _, tokens in parts)
    if prompt:
        seconds += max(0.0, prompt / profile.prefill_tokens_per_s - profile.prefill_hidden_s)
        pairs = sum(sum(range(entry.prefilled, entry.prefilled + tokens)) for entry, tokens in parts)
        seconds += profile.prefill_attention_s * pairs
    return seconds


def _factor(now: float, slowdown: tuple[float, float, float] | None) -> float:
    return slowdown[0] if slowdown is not None and slowdown[1] <= now < slowdown[2] else 1.0


def _held(running: list[_Entry]) -> int:
    return sum(entry.held for entry in running)


def _completing(parts: list[tuple[_Entry, int]]) -> int:
    return sum(entry.prefilled + tokens == entry.context for entry, tokens in parts)
