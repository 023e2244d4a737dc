"""Which earlier answers a call could have used, as far as that shows in the calls and in what is started where.

A run's code is made of *strands*: the one it begins in, and each task, thread or job of an executor that is started in
it. A strand knows what it goes on from (its *origin*: what its starter could have used when it started it), and which
answers it and the strands below it have got that no answered call has used yet: the *open* ones. A call has for parents

1. what its own line of execution asked for last, if that answer is open;
2. else, while calls of the same strand are running, what the last of these has: it is one more branch beside them (a
   context may have been copied by hand, and event loops that are not asyncio's own tell nobody of new tasks); likewise
   a strand that is started beside a job of an executor that is not over, though all its calls have been answered;
3. else all open answers of its strand: it is a join;
4. else, if the strand has asked nothing yet, the strand's origin.

So in plan -> three researches -> write, each research has plan for a parent, however late it starts and even if they
run one after the other, and write has the three; two branches with several calls each do not take each other's.

What is awaited cannot be seen. A strand whose first call comes after others, started beside it, have been answered may
be one more branch that was kept busy or waiting, or it may have waited for those answers. It is taken for the latter
only if it asks at once when the last of them is there, in another step, unless a framework says that the two never wait
for one another.
"""

import threading
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple
from weakref import WeakKeyDictionary

from agentsched.workflow.frame import Frame, change_frame, current_frame
from agentsched.workflow.scope import Run
from agentsched.workflow.steps import current_task

__all__ = ["Lineage", "Strand", "lineage_of"]

AT_ONCE_S = 0.02
"""A call that comes this soon after an answer may well be made of it, seconds."""

_LATELY = 8
"""Of so many open answers it is asked whether the job that has them goes on: there may be thousands."""

_DEEPEST = 16
"""Strands below strands, beyond which a task counts as a part of its starter: a chain of tasks may go on for ever."""


class Strand:
    """One line of execution of a run, and those that were started in it.

    Attributes:
        lineage: that of its run.
        parent: the strand that started it; None: it is the one in which the run began.
    """

    __slots__ = ("_begun_at", "_depth", "_job", "_last", "_open", "_origin", "_over", "_running", "lineage", "parent")

    def __init__(
        self, lineage: "Lineage", parent: "Strand | None", origin: "_Origin | None", begun_at: float, *, job: bool
    ) -> None:
        self.lineage, self.parent = lineage, parent
        self._depth: int = 0 if parent is None else parent._depth + 1
        self._origin, self._begun_at, self._job = origin, begun_at, job
        self._over = False
        self._open: dict[str, _Asked] = {}
        self._running: dict[str, _Asked] = {}
        self._last: _Asked | None = None

    @property
    def depth(self) -> int:
        """How many strands are around it."""
        return self._depth

    def line(self) -> "Iterator[Strand]":
        """This strand, then the one that started it, and so on."""
        strand: Strand | None = self
        while strand is not None:
            yield strand
            strand = strand.parent

    def begin(self, asked: "_Asked") -> None:
        """Note a call that runs in it."""
        for each in self.line():
            each._running[asked.call_id] = asked

    def end(self, asked: "_Asked", *, answered: bool) -> None:
        """Note that the call is over."""
        for each in self.line():
            each._running.pop(asked.call_id, None)
            if answered:
                each._open[asked.call_id] = each._last = asked

    def use(self, asked: "_Asked") -> None:
        """Note that an answer of this strand has been used."""
        for each in self.line():
            each._open.pop(asked.call_id, None)

    def finish(self) -> None:
        """Note that a job is over: until then nobody can have waited for it."""
        self._over = True

    def _unfinished(self) -> "Strand | None":
        """A job that was started in it, has been answered lately, and goes on."""
        for answer in islice(reversed(self._open.values()), _LATELY):
            started = next((each for each in answer.strand.line() if each.parent is self), None)
            if started is not None and started._job and not started._over:
                return started
        return None

    def known(self, asked: "_Asked | None", *, starting: bool) -> "_Origin | None":
        """What its code can go on from, by what has been asked for in it; None: nothing has.

        Args:
            asked: the last call of the executing code.
            starting: whether that is for another strand, which is then beside those that are running.
        """
        if asked is not None and asked.call_id in self._open:
            return _Origin((asked,), asked.ended_at)
        for other in reversed(list(self._running.values())):
            if starting or other.strand is self:
                return other.origin
        beside = self._unfinished() if starting else None
        if beside is not None and beside._origin is not None:
            return beside._origin
        if self._open:
            answers = tuple(self._open.values())
            return _Origin(answers, max(answer.ended_at for answer in answers))
        if asked is not None and asked.strand is self and asked.answered:
            return _Origin((asked,), asked.ended_at)
        return None

    def origin(self, place: "_Place", now: float) -> "_Origin":
        """What it goes on from if nothing has been asked for in it: see the module.

        Args:
            place: where the call at hand is made.
            now: when.
        """
        around = self.parent
        if around is None:
            assert self._origin is not None, "the first strand goes on from the run's start"
            return self._origin
        if self._waited(around, place, now):
            known = around.known(None, starting=True)
            if known is not None:
                return known
        return around.origin(place, now) if self._origin is None else self._origin

    def _waited(self, around: "Strand", place: "_Place", now: float) -> bool:
        """Whether a call that is made now seems to have waited for the last answer of a strand beside this one."""
        last = around._last
        if last is None or last.ended_at <= self._begun_at or self._job or around._running:
            return False
        return now - last.ended_at < AT_ONCE_S and last.place.step != place.step and not place.is_beside(last.place)


class Lineage:
    """The calls of one run; from any thread."""

    def __init__(self, started_at: float) -> None:
        self._first = Strand(self, None, _Origin((), started_at), started_at, job=False)
        # Reentrant: an answer that was forgotten is ended by the garbage collector, which may run anywhere.
        self._lock = threading.RLock()
        self._running: dict[str, _Asked] = {}

    def begin(self, call_id: str, step: str, now: float) -> tuple[tuple[str, ...], float]:
        """Note that the call starts, in the caller's place.

        Returns:
            Its parents' ids, and the seconds since the last of them ended (since the run's start if there is none).
        """
        frame, place = current_frame(), _Place(step, current_task())
        strand, before = self._standing(frame)
        with self._lock:
            origin = strand.known(before, starting=False) or strand.origin(place, now)
            asked = self._running[call_id] = _Asked(call_id, place, strand, origin)
            strand.begin(asked)
        change_frame(frame._replace(asked=asked))
        return tuple(parent.call_id for parent in origin.answers), max(0.0, now - origin.ended_at)

    def end(self, call_id: str, now: float, *, answered: bool) -> None:
        """Note that the call is over; if it was answered, its parents' answers are used, and its own is open."""
        with self._lock:
            asked = self._running.pop(call_id, None)
            if asked is None:
                return
            used, asked.origin = asked.origin.answers, _NOTHING
            asked.ended_at, asked.answered = now, answered
            if answered:
                for parent in used:
                    parent.strand.use(parent)
            asked.strand.end(asked, answered=answered)

    def start(self, now: float, *, job: bool = False) -> Strand:
        """The strand of what the caller is about to start.

        Args:
            now: the present instant, on the run's clock.
            job: whether it is a job of an executor: those do not wait for one another.
        """
        around, asked = self._standing(current_frame())
        if around.depth >= _DEEPEST:
            return around
        with self._lock:
            return Strand(self, around, around.known(asked, starting=True), now, job=job)

    def _standing(self, frame: Frame) -> "tuple[Strand, _Asked | None]":
        """The caller's strand, and what the caller asked for last."""
        strand, asked = frame.strand, frame.asked
        mine = isinstance(strand, Strand) and strand.lineage is self
        return (
            strand if mine and isinstance(strand, Strand) else self._first,
            asked if isinstance(asked, _Asked) and asked.strand.lineage is self else None,
        )


class _Place(NamedTuple):
    """Where a call is made: in which step, and in which task of a framework."""

    step: str
    task: tuple[str, ...] | None

    def is_beside(self, other: "_Place") -> bool:
        """Whether the framework executes the two as tasks that do not wait for one another: neither is in the other."""
        if self.task is None or other.task is None:
            return False
        common = min(len(self.task), len(other.task))
        return self.task[:common] != other.task[:common]


class _Origin(NamedTuple):
    """The answers that something goes on from, and the instant at which the last of them was there."""

    answers: "tuple[_Asked, ...]"
    ended_at: float


_NOTHING = _Origin((), 0.0)


class _Asked:
    """One call; ``origin`` while it runs (else every call would keep all those before it), ``ended_at`` afterwards."""

    __slots__ = ("answered", "call_id", "ended_at", "origin", "place", "strand")

    def __init__(self, call_id: str, place: _Place, strand: Strand, origin: _Origin) -> None:
        self.call_id, self.place, self.strand, self.origin = call_id, place, strand, origin
        self.ended_at, self.answered = 0.0, False


_lineages: WeakKeyDictionary[Run, Lineage] = WeakKeyDictionary()


def lineage_of(run: Run) -> Lineage:
    """The lineage of ``run``, made when it is first asked for."""
    found = _lineages.get(run)
    # setdefault settles a race of two threads; a lock of the module's could be held at a fork.
    return _lineages.setdefault(run, Lineage(run.started_at)) if found is None else found
