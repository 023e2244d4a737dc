"""One continuous-batching instance, iteration by iteration, without a clock.

The model, in the order in which a step is made:

1. *Arrival.* A request passes the front end (a constant delay, see `HardwareProfile.frontend_s`) and waits.
2. *Admission.* Waiting requests enter in order of (priority, arrival) while a slot is free and their whole context fits
   into key/value memory beside a small watermark. The first that does not fit blocks those behind it, as in vLLM: no
   request starves because smaller ones keep slipping past it.
3. *Memory.* Every token takes one token of memory as it appears. If a step would not fit, the least urgent running
   request (latest among equals) is preempted: its memory is freed, it returns to the queue with its old rank and later
   prefills prompt and output so far again. Preemption rather than reserving the whole output at admission, because an
   engine does not know output lengths, and because this is what vLLM does (recomputation).
4. *The step.* All decoding requests gain one token and up to a chunk of prompt tokens is prefilled, in order of
   admission. A request whose prompt is completed gains its first token in the same step. See
   `HardwareProfile` for the seconds this takes.

Between changes of the batch all steps are alike but for the growth of the KV cache, so a whole run of them is one
`Span` with a closed form: a driver may jump to the end of the run or stop at every step and gets the same instants.

The prefix cache lives in memory that running requests do not use, up to a share of the whole; running requests squeeze
it out. A request that reuses cached blocks still counts with its whole context (blocks are not shared between running
requests), so memory pressure is slightly overstated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf
from typing import Literal

from agentsched.engine.block import Block
from agentsched.engine.interruptions import Outages, Slowdowns
from agentsched.engine.prefix import PrefixCache
from agentsched.engine.profile import HardwareProfile
from agentsched.engine.request import Emission, Load, Rejection, Request, Span
from agentsched.engine.sequences import DecodeSet, Phase, Sequence, WaitingQueue
from agentsched.errors import InvariantViolated

__all__ = ["Instance", "Scheduling"]

Scheduling = Literal["fcfs", "lower_first", "higher_first"]
"""Order of the queue: arrival alone, or priority and then arrival with either end first (vLLM: lower first)."""


_NOTHING_TO_READ: tuple[list[tuple[Sequence, int]], int, float] = [], 0, 0.0


class Instance:
    """A continuous-batching instance (implements `ServingModel`).

    Args:
        profile: how fast it is and what it can hold.
        scheduling: the order of the waiting queue.
        max_waiting: requests that it may hold beyond its slots; None is unbounded.
        detail: report every step; without it only emissions with a first token, a finish, a preemption or a failure
            are reported and ``Emission.decoded`` stays empty (what a simulator wants).
        skip: plan runs of steps; False plans each step alone (slower, for checks).
    """

    def __init__(
        self,
        profile: HardwareProfile,
        *,
        scheduling: Scheduling = "lower_first",
        max_waiting: int | None = None,
        detail: bool = True,
        skip: bool = True,
    ) -> None:
        self.profile = profile
        self._sign = {"fcfs": 0, "lower_first": 1, "higher_first": -1}[scheduling]
        self._max_waiting = max_waiting
        self._detail = detail
        self._skip = skip
        self._sequences: dict[str, Sequence] = {}
        self._arriving: deque[tuple[float, Sequence]] = deque()
        self._waiting = WaitingQueue()
        self._prefilling: dict[str, Sequence] = {}
        self._decoding = DecodeSet()
        self._kv_used = 0
        self._cache = PrefixCache(profile.block_tokens, int(profile.prefix_cache_share * profile.kv_tokens))
        self._slowdowns = Slowdowns()
        self._outages = Outages()
        self._down_until = -inf
        self._block: Block | None = None
        self._pending: list[Emission] = []
        self._now = -inf
        self._arrivals = 0
        self._prompt_tokens = self._output_tokens = self._preemptions = self._queried = self._hits = 0

    # What a driver calls ---------------------------------------------------------------------------------------------

    def submit(self, request: Request, now: float) -> Rejection | None:
        """Take a request at ``now``; it joins the batch at the next step boundary at the earliest.

        Requests that arrive at the same instant at an idle instance share the first step; they are admitted in the
        order of submission, whatever their priority.

        Raises:
            ValueError: the id is in use, or ``now`` lies in the past.
        """
        self._settle(now)
        if request.request_id in self._sequences:
            raise ValueError(f"request id {request.request_id!r} is in use")
        refusal = self._refusal(request, now)
        if refusal is not None:
            return refusal
        self._arrivals += 1
        sequence = Sequence(request, (self._sign * request.priority, self._arrivals))
        self._sequences[request.request_id] = sequence
        if self.profile.frontend_s > 0:
            self._arriving.append((now + self.profile.frontend_s, sequence))
        else:
            self._enqueue(sequence, now)
        return None

    def abort(self, request_id: str, now: float) -> bool:
        """Forget a request; its slot and memory are free at once, the step in progress still takes its time."""
        self._settle(now)
        sequence = self._sequences.get(request_id)
        if sequence is None:
            return False
        running = sequence.phase in (Phase.PREFILLING, Phase.DECODING)
        self._leave(sequence)
        # One that waited changes the batch only if it was the head that blocked the others.
        if running or self._admissible() is not None:
            self._reconsider(now)
        return True

    def next_step_at(self) -> float | None:
        """Return the end of the step in progress, or the start of an outage before it; None when idle."""
        return self._soonest(inf if self._block is None else self._block.step_end_s)

    def next_event_at(self) -> float | None:
        """Return the end of the planned run of steps, or the start of an outage before it; None when idle."""
        return self._soonest(inf if self._block is None else self._block.end_s)

    def advance(self, now: float) -> list[Emission]:
        """Return everything that happened up to ``now`` and was not reported yet, in order.

        Raises:
            ValueError: ``now`` lies in the past.
        """
        self._settle(now)
        emissions, self._pending = self._pending, []
        return emissions

    def generated(self, request_id: str) -> int | None:
        """Return the output tokens generated so far, as of the last call; None for an unknown request."""
        sequence = self._sequences.get(request_id)
        if sequence is None:
            return None
        return self._decoding.generated(sequence) if sequence.phase is Phase.DECODING else sequence.generated

    def slow_down(self, factor: float, start_s: float, until_s: float) -> None:
        """Make every step that starts in the interval last ``factor`` times as long (intervals multiply).

        Raises:
            ValueError: the factor is not positive or the interval is empty.
        """
        self._slowdowns.add(factor, start_s, until_s)
        self._cut_at(start_s)

    def fail(self, start_s: float, until_s: float) -> None:
        """Lose every request and the prefix cache at ``start_s``; take none before ``until_s``.

        Raises:
            ValueError: the interval is empty.
        """
        self._outages.add(start_s, until_s)

    def load(self) -> Load:
        """Return what the instance holds, as of the last call."""
        return Load(
            running=len(self._prefilling) + self._decoding.count,
            waiting=self._waiting.count,
            kv_used_tokens=self._kv_used,
            kv_tokens=self.profile.kv_tokens,
            cached_tokens=min(self._cache.tokens, self.profile.kv_tokens - self._kv_used),
            prefix_queried_tokens=self._queried,
            prefix_hit_tokens=self._hits,
            prompt_tokens=self._prompt_tokens,
            output_tokens=self._output_tokens,
            preemptions=self._preemptions,
        )

    def check_invariants(self) -> None:
        """Compare the running sums with what the sequences themselves say.

        Raises:
            InvariantViolated: they differ, or a limit is exceeded.
        """
        decoding = self._decoding.members()
        running = [*self._prefilling.values(), *decoding]
        held = sum(sequence.kv_held for sequence in self._prefilling.values()) + self._decoding.kv_tokens
        counted = sum(sequence.request.prompt_tokens + self._decoding.generated(sequence) for sequence in decoding)
        checks = {
            "kv used": (self._kv_used, held),
            "kv of decoding": (self._decoding.kv_tokens, counted),
            "sequences": (len(self._sequences), len(running) + self._waiting.count + self._on_the_way()),
            "kv over limit": (max(0, self._kv_used - self.profile.kv_tokens), 0),
            "slots over limit": (max(0, len(running) - self.profile.max_slots), 0),
            "idle with work": (int(bool(running) and self._block is None), 0),
        }
        wrong = [f"{name}: {left} != {right}" for name, (left, right) in checks.items() if left != right]
        if wrong:
            raise InvariantViolated(f"instance {self.profile.name!r}: {'; '.join(wrong)}")

    def _on_the_way(self) -> int:
        return sum(sequence.phase is Phase.ARRIVING for _, sequence in self._arriving)

    def __repr__(self) -> str:
        load = self.load()
        return (
            f"Instance({self.profile.name!r}, running={load.running}, waiting={load.waiting}, "
            f"kv={load.kv_used_tokens}/{load.kv_tokens})"
        )

    # Time ------------------------------------------------------------------------------------------------------------

    def _soonest(self, at: float) -> float | None:
        """Return ``at``, or what happens before it: an outage, an arrival; None if nothing does at all."""
        if self._sequences and self._outages.next_start_s < at:
            at = self._outages.next_start_s
        if self._arriving and self._arriving[0][0] < at:
            at = self._arriving[0][0]
        return at if at < inf else None

    def _settle(self, now: float) -> None:
        """Let everything happen that ends at or before ``now``."""
        if now < self._now:
            raise ValueError(f"time went back: {now} after {self._now}")
        while True:
            block = self._block
            step_end = inf if block is None else block.step_end_s
            outage = self._outages.next_start_s
            arrival = self._arriving[0][0] if self._arriving else inf
            if now < step_end and now < outage and now < arrival:
                break
            if outage <= now and outage < step_end and outage < arrival:
                self._begin_outage(outage)
            elif arrival <= now and arrival < step_end:
                self._enqueue(self._arriving.popleft()[1], arrival)
            elif block is not None and step_end <= now:
                at = now if now <= outage and now <= arrival else min(outage, arrival)
                self._apply(block, block.ended_by(at))
            else:
                break
        self._now = now

    def _enqueue(self, sequence: Sequence, now: float) -> None:
        """Let a request wait for the batch, unless it was aborted on its way."""
        if sequence.phase is Phase.GONE:
            return
        sequence.phase = Phase.WAITING
        self._waiting.push(sequence)
        if self._admissible() is not None:
            self._reconsider(now)

    def _reconsider(self, now: float) -> None:
        """End the planned run with the step in progress; a run that has only just begun is planned anew."""
        block = self._block
        if block is None or (block.done == 0 and block.span.start_s == now):
            self._plan(now)
        else:
            block.cut(block.done + 1)

    def _cut_at(self, instant: float) -> None:
        """End the planned run with the step that is in progress at the instant."""
        block = self._block
        if block is not None:
            block.cut(max(block.done + 1, block.span.steps_begun_before(instant, block.steps)))

    # One run of steps ------------------------------------------------------------------------------------------------

    def _plan(self, start: float) -> None:
        """Choose the batch that runs from ``start`` and for how many steps it stays the same."""
        self._block = None
        if self._waiting.count:
            self._admit()
        parts, completing, prefill_s = self._prefill_parts() if self._prefilling else _NOTHING_TO_READ
        while self._kv_used + self._decoding.count + completing > self.profile.kv_tokens:
            self._preempt(start)
            parts, completing, prefill_s = self._prefill_parts()
        batch = self._decoding.count
        if not batch and not parts:
            return
        factor = self._slowdowns.factor_at(start)
        first_s = factor * (self.profile.decode_step_s(batch, self._decoding.kv_tokens) + prefill_s)
        if parts:
            self._block = Block(Span(start, first_s, 0.0), 1, parts)
            return
        span = Span(start, first_s, factor * self.profile.step_per_kv_token_s * batch)
        # A preemption may have made room for the head of the queue: it enters with the next step.
        alike = self._steps_alike(span, batch) if self._admissible() is None else 1
        self._block = Block(span, alike, parts)

    def _steps_alike(self, span: Span, batch: int) -> int:
        """Return after how many steps the batch changes by itself: a finish, full memory or another pace."""
        if not self._skip:
            return 1
        free = self.profile.kv_tokens - self._kv_used
        steps = int(min(self._decoding.steps_to_finish(), free // batch))
        if self._slowdowns:
            change = self._slowdowns.next_change_after(span.start_s)
            if change < span.end_of(steps):
                steps = span.steps_begun_before(change, steps)
        return max(1, steps)

    def _apply(self, block: Block, steps: int) -> None:
        """Let ``steps`` further steps of the block end."""
        members = self._decoding.ids() if self._detail else ()
        skipped = block.done
        block.end(steps)
        gained = self._decoding.gain(steps)
        self._kv_used += gained
        self._output_tokens += gained
        if block.done < block.steps:
            if members:
                self._pending.append(Emission(block.span, skipped, steps, members))
            return
        prefilled = self._end_prefill(block.parts) if block.parts else ()
        finished = self._finish()
        if members or prefilled or finished:
            ids = tuple([sequence.request.request_id for sequence in prefilled])
            cached = tuple([sequence.cached_tokens or 0 for sequence in prefilled])
            self._pending.append(Emission(block.span, skipped, steps, members, ids, cached, finished))
        self._plan(block.end_s)

    def _end_prefill(self, parts: Iterable[tuple[Sequence, int]]) -> tuple[Sequence, ...]:
        """Book the prefilled tokens; returns the sequences whose prompt is complete, each with one token more."""
        complete: list[Sequence] = []
        for sequence, tokens in parts:
            if sequence.phase is not Phase.PREFILLING:  # aborted during the step
                continue
            sequence.prefill_left -= tokens
            sequence.context_done += tokens
            if sequence.prefill_left == 0:
                del self._prefilling[sequence.request.request_id]
                sequence.generated += 1
                sequence.kv_held += 1
                self._kv_used += 1
                self._output_tokens += 1
                self._cache.insert(sequence.request.prompt_chain)
                self._decoding.join(sequence)
                complete.append(sequence)
        return tuple(complete)

    def _finish(self) -> tuple[str, ...]:
        finished = self._decoding.take_finished()
        for sequence in finished:
            del self._sequences[sequence.request.request_id]
            self._free(sequence)
            self._cache.insert(sequence.request.prompt_chain + sequence.request.output_chain)
        return tuple([sequence.request.request_id for sequence in finished])

    # The batch -------------------------------------------------------------------------------------------------------

    def _refusal(self, request: Request, now: float) -> Rejection | None:
        if now < self._down_until:
            return Rejection("unavailable", "the instance is down", self._down_until - now)
        total = request.prompt_tokens + request.output_tokens
        limit = self.profile.context_limit_tokens
        if total > limit:
            return Rejection("context_length", f"prompt and output need {total} tokens, the limit is {limit}")
        if self._max_waiting is not None and len(self._sequences) >= self.profile.max_slots + self._max_waiting:
            return Rejection("queue_full", f"{len(self._sequences)} requests are running or waiting")
        return None

    def _admissible(self) -> Sequence | None:
        """Return the head of the queue if it could join the batch now."""
        head = self._waiting.head() if self._waiting.count else None
        if head is None:
            return None
        running = len(self._prefilling) + self._decoding.count
        if running >= self.profile.max_slots:
            return None
        reserve = int(self.profile.kv_watermark * self.profile.kv_tokens) if running else 0
        fits = self._kv_used + head.context_tokens + 1 <= self.profile.kv_tokens - reserve
        return head if fits else None

    def _admit(self) -> None:
        while (head := self._admissible()) is not None:
            self._waiting.pop()
            self._cache.squeeze(self.profile.kv_tokens - self._kv_used)
            context = head.context_tokens
            # The last token is always computed: its output is what the first new token is drawn from.
            hit = min(self._known_tokens(head), context - 1)
            if head.cached_tokens is None:
                head.cached_tokens = hit
                self._prompt_tokens += head.request.prompt_tokens
                self._queried += head.request.prompt_tokens
                self._hits += hit
            head.phase = Phase.PREFILLING
            head.context_done, head.prefill_left, head.kv_held = hit, context - hit, context
            self._kv_used += context
            self._prefilling[head.request.request_id] = head

    def _known_tokens(self, sequence: Sequence) -> int:
        """Return how many leading tokens need not be read: found in the cache, or brought along the first time."""
        brought = sequence.request.ready_tokens if sequence.cached_tokens is None else 0
        return max(brought, self._cache.match(sequence.request.prompt_chain))

    def _prefill_parts(self) -> tuple[list[tuple[Sequence, int]], int, float]:
        """Return the prompt tokens of the next step per sequence, how many prompts they complete, and their seconds."""
        parts: list[tuple[Sequence, int]] = []
        budget, completing, pairs = self.profile.prefill_chunk_tokens, 0, 0.0
        for sequence in self._prefilling.values():
            if budget == 0:
                break
            tokens = min(budget, sequence.prefill_left)
            budget -= tokens
            completing += tokens == sequence.prefill_left
            pairs += tokens * sequence.context_done + 0.5 * tokens * (tokens - 1)
            parts.append((sequence, tokens))
        total = self.profile.prefill_chunk_tokens - budget
        return parts, completing, self.profile.prefill_s(total, pairs) if total else 0.0

    def _preempt(self, now: float) -> None:
        """Throw the least urgent running sequence back to the queue."""
        victim = max((*self._prefilling.values(), *self._decoding.members()), key=lambda sequence: sequence.key)
        self._stop(victim)
        victim.phase = Phase.WAITING
        self._waiting.push(victim)
        self._preemptions += 1
        self._pending.append(Emission(Span(now, 0.0, 0.0), 0, 0, preempted=(victim.request.request_id,)))

    def _leave(self, sequence: Sequence) -> None:
        del self._sequences[sequence.request.request_id]
        if sequence.phase is Phase.ARRIVING:
            sequence.phase = Phase.GONE
        elif sequence.phase is Phase.WAITING:
            self._waiting.forget(sequence)
        else:
            self._stop(sequence)

    def _stop(self, sequence: Sequence) -> None:
        """Take a running sequence out of the batch and free its memory."""
        if sequence.phase is Phase.DECODING:
            self._decoding.leave(sequence)
        else:
            del self._prefilling[sequence.request.request_id]
            sequence.phase = Phase.GONE
        self._free(sequence)

    def _free(self, sequence: Sequence) -> None:
        # Memory only grows between frees, so squeezing the cache here is the same as squeezing it at every token.
        self._cache.squeeze(self.profile.kv_tokens - self._kv_used)
        self._kv_used -= sequence.kv_held
        sequence.kv_held = 0

    def _begin_outage(self, at: float) -> None:
        until = self._outages.begin()
        lost = tuple(self._sequences)
        for sequence in self._sequences.values():
            sequence.phase = Phase.GONE
        self._sequences.clear()
        self._arriving.clear()
        self._waiting.clear()
        self._prefilling.clear()
        self._decoding.clear()
        self._cache.clear()
        self._kv_used = 0
        self._block = None
        self._down_until = max(self._down_until, until)
        if lost:
            self._pending.append(Emission(Span(at, 0.0, 0.0), 0, 0, failed=lost))
