"""The requests an instance holds: those that wait, and those that run."""

from __future__ import annotations

from enum import Enum
from heapq import heappop, heappush
from math import inf

from agentsched.engine.request import Request

__all__ = ["DecodeSet", "Phase", "Sequence", "WaitingQueue"]


class Phase(Enum):
    """Where a sequence stands; it leaves the instance from any phase."""

    ARRIVING = "arriving"
    WAITING = "waiting"
    PREFILLING = "prefilling"
    DECODING = "decoding"
    GONE = "gone"


class Sequence:
    """One request inside an instance.

    Attributes:
        request: what was submitted.
        key: order of urgency, unique; smaller goes first and is preempted last.
        phase: where it stands.
        generated: output tokens so far; while decoding, as of `joined_at`.
        joined_at: the instance's step count when it began to decode.
        finishes_at: the step count at which it will have its last token.
        context_done: tokens whose keys and values exist (prefill progress).
        prefill_left: tokens still to be prefilled.
        kv_held: key/value tokens reserved; while decoding, as of `joined_at`.
        cached_tokens: prompt tokens found in the prefix cache at first admission; None before it.
    """

    __slots__ = (
        "cached_tokens",
        "context_done",
        "finishes_at",
        "generated",
        "joined_at",
        "key",
        "kv_held",
        "phase",
        "prefill_left",
        "request",
    )

    def __init__(self, request: Request, key: tuple[int, int]) -> None:
        self.request = request
        self.key = key
        self.phase = Phase.ARRIVING
        self.generated = 0
        self.joined_at = 0
        self.finishes_at = 0
        self.context_done = 0
        self.prefill_left = 0
        self.kv_held = 0
        self.cached_tokens: int | None = None

    @property
    def context_tokens(self) -> int:
        """Prompt plus output so far, while not decoding."""
        return self.request.prompt_tokens + self.generated


class WaitingQueue:
    """Sequences ordered by key; those that left in the meantime are skipped.

    Attributes:
        count: how many they are.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, int], Sequence]] = []
        self.count = 0

    def push(self, sequence: Sequence) -> None:
        """Add a sequence in phase WAITING."""
        heappush(self._heap, (sequence.key, sequence))
        self.count += 1

    def head(self) -> Sequence | None:
        """Return the most urgent sequence, or None."""
        while self._heap and self._heap[0][1].phase is not Phase.WAITING:
            heappop(self._heap)
        return self._heap[0][1] if self._heap else None

    def pop(self) -> Sequence:
        """Take the most urgent sequence, which must exist; the caller changes its phase."""
        self.count -= 1
        return heappop(self._heap)[1]

    def forget(self, sequence: Sequence) -> None:
        """Drop a waiting sequence; its heap entry goes when it comes up."""
        sequence.phase = Phase.GONE
        self.count -= 1

    def clear(self) -> None:
        """Drop everything."""
        self._heap.clear()
        self.count = 0


class DecodeSet:
    """The sequences that gain one token per step, with their sums kept up to date in O(log n) per change.

    All of them gain tokens together, so one common step count says what each has: nothing is touched per token.

    Attributes:
        count: how many they are.
        steps: the step count.
        kv_tokens: key/value tokens that they hold.
    """

    def __init__(self) -> None:
        self._members: dict[str, Sequence] = {}
        self._finish: list[tuple[int, tuple[int, int], Sequence]] = []
        self._ids: tuple[str, ...] | None = None
        self.count = self.steps = self.kv_tokens = 0

    def ids(self) -> tuple[str, ...]:
        """Return the members' request ids, oldest member first."""
        if self._ids is None:
            self._ids = tuple(self._members)
        return self._ids

    def members(self) -> list[Sequence]:
        """Return the members, oldest first."""
        return list(self._members.values())

    def join(self, sequence: Sequence) -> None:
        """Add a sequence that has its first token and lacks at least one."""
        sequence.phase = Phase.DECODING
        sequence.joined_at = self.steps
        sequence.finishes_at = self.steps + sequence.request.output_tokens - sequence.generated
        self._members[sequence.request.request_id] = sequence
        self.count += 1
        heappush(self._finish, (sequence.finishes_at, sequence.key, sequence))
        self.kv_tokens += sequence.kv_held
        self._ids = None

    def leave(self, sequence: Sequence) -> None:
        """Remove a member, writing what it has gained into it; the caller sets its next phase."""
        del self._members[sequence.request.request_id]
        self.count -= 1
        gained = self.steps - sequence.joined_at
        sequence.generated += gained
        sequence.kv_held += gained
        sequence.joined_at = self.steps
        self.kv_tokens -= sequence.kv_held
        sequence.phase = Phase.GONE
        self._ids = None

    def gain(self, steps: int) -> int:
        """Give every member ``steps`` tokens; returns how many tokens that makes."""
        self.steps += steps
        gained = steps * self.count
        self.kv_tokens += gained
        return gained

    def generated(self, sequence: Sequence) -> int:
        """Return the output tokens a member has by now."""
        return sequence.generated + self.steps - sequence.joined_at

    def steps_to_finish(self) -> float:
        """Return the steps after which the first member is complete; infinity if there is none."""
        self._drop_stale()
        return self._finish[0][0] - self.steps if self._finish else inf

    def take_finished(self) -> list[Sequence]:
        """Remove and return the members that have their last token."""
        done: list[Sequence] = []
        finish = self._finish
        while finish and finish[0][0] <= self.steps:
            at, _, sequence = heappop(finish)
            if sequence.phase is Phase.DECODING and sequence.finishes_at == at:  # else it left, or left and came back
                self.leave(sequence)
                done.append(sequence)
        return done

    def clear(self) -> None:
        """Drop everything."""
        self._members.clear()
        self._finish.clear()
        self._ids = None
        self.count = self.kv_tokens = 0

    def _drop_stale(self) -> None:
        """Forget heap entries of sequences that left, or left and came back (then a newer entry exists)."""
        heap = self._finish
        while heap and (heap[0][2].phase is not Phase.DECODING or heap[0][2].finishes_at != heap[0][0]):
            heappop(heap)
