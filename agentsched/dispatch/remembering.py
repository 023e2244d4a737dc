"""What was learned, kept for the next process: gathered and written by the learner's thread, never by a call's."""

import socket
from collections.abc import Callable, Sequence

from agentsched import clock
from agentsched.core.call import Observation
from agentsched.core.endpoint import Endpoint
from agentsched.core.quality import Judgement
from agentsched.core.records import CallEnded, Feedback, RunClosed, StructureTold
from agentsched.core.shared import EndpointKnowledge
from agentsched.core.structure import WorkflowStructure
from agentsched.dispatch.dispatcher import Dispatcher
from agentsched.dispatch.neighbours import keys_of
from agentsched.errors import StateUnavailable
from agentsched.scheduler.events import OthersKnow
from agentsched.state.experience import EndpointSpeed, packed_run
from agentsched.state.profiles import NewRun, ProfileFile, Profiles

__all__ = ["Memory"]

_KEEP_EVERY_S = 5.0
"""What is new is written at most this often, seconds, and at the end."""

_MOST_CALLS_RECALLED = 8_000
"""Calls of past runs that a new process learns from: a second of its learner's time."""

_SPEED_HALF_LIFE_S = 86_400.0
"""A speed that was learned this long ago counts as from half as many answers."""

_MOST_CALLS_OF_A_RUN = 1_000
_MOST_OPEN_CALLS = 20_000
_MOST_PENDING = 1_000
"""Runs, structures, judgements that wait to be written while the file cannot be: beyond it the oldest are dropped."""


class Memory:
    """Used by one thread at a time.

    Args:
        file: where it is kept.
        announce: told in words when the file cannot be used, and when it can again.
        dispatcher: whose scheduler learns how fast endpoints are, and is told how fast they were.
        endpoints: the pool's.
    """

    def __init__(
        self, file: ProfileFile, announce: Callable[[str], None], dispatcher: Dispatcher, endpoints: Sequence[Endpoint]
    ) -> None:
        self._file, self._announce, self._dispatcher = file, announce, dispatcher
        self._keys = keys_of(endpoints, socket.gethostname())
        self._open: dict[str, list[CallEnded]] = {}
        self._open_calls = 0
        self._runs: list[NewRun] = []
        self._structures: list[tuple[str, WorkflowStructure]] = []
        self._judgements: list[Judgement] = []
        self._kept_at = clock.monotonic()
        self._works = True

    def recall(self) -> Profiles:
        """What earlier processes kept; nothing if the file cannot be read. The scheduler is told the speeds."""
        try:
            profiles = self._file.load(_MOST_CALLS_RECALLED)
        except StateUnavailable as error:
            self._failed(error)
            return Profiles((), (), ())
        names = {key: name for name, key in self._keys.items()}
        known = tuple(_faded(speed, names[speed.key]) for speed in profiles.speeds if speed.key in names)
        if known:
            self._dispatcher.post(OthersKnow(known, clock.monotonic()))
        return profiles

    def _speeds(self) -> list[EndpointSpeed]:
        known = self._dispatcher.look(lambda scheduler, now: scheduler.knowledge(now))
        return [
            EndpointSpeed(
                self._keys[one.endpoint], one.endpoint, one.tpot_s, one.tpot_count, one.ttft_idle_s, one.ttft_count
            )
            for one in known
            if max(one.tpot_count, one.ttft_count) > 0.0
        ]

    def take(self, lesson: Observation | CallEnded | RunClosed | StructureTold | Feedback) -> None:
        """Gather what is worth keeping: whole runs and structures."""
        match lesson:
            case CallEnded():
                calls = self._open.setdefault(lesson.call.run_id, [])
                calls.append(lesson)
                self._open_calls += 1
                while self._open_calls > _MOST_OPEN_CALLS:
                    self._open_calls -= len(self._open.pop(next(iter(self._open))))
            case RunClosed():
                calls = self._open.pop(lesson.run.run_id, [])
                self._open_calls -= len(calls)
                if 0 < len(calls) <= _MOST_CALLS_OF_A_RUN:
                    self._runs.append(NewRun(lesson.run.workflow, len(calls), packed_run(calls, lesson)))
                    del self._runs[:-_MOST_PENDING]
            case StructureTold():
                self._structures.append((lesson.workflow, lesson.structure))
                del self._structures[:-_MOST_PENDING]

    def judged(self, judgements: Sequence[Judgement]) -> None:
        """Gather what a user's score taught."""
        self._judgements += judgements
        del self._judgements[:-_MOST_PENDING]

    def keep_weights(self, kind: str, calls: int, loss: float, content: bytes) -> int | None:
        """Write a trained forecaster at once: there are few. Answers its version; None: it could not be written."""
        try:
            return self._file.keep_weights(kind, calls, loss, content)
        except StateUnavailable as error:
            self._failed(error)
            return None

    def take_weights_back(self, version: int) -> None:
        """The next process is not to use this version."""
        try:
            self._file.take_weights_back(version)
        except StateUnavailable as error:
            self._failed(error)

    def keep(self, *, now: bool = False) -> None:
        """Write what is new, if it is time to, or ``now``."""
        at = clock.monotonic()
        if not (self._runs or self._structures or self._judgements) or not (now or at >= self._kept_at + _KEEP_EVERY_S):
            return
        self._kept_at = at
        try:
            self._file.keep(self._runs, self._structures, self._speeds(), self._judgements)
        except StateUnavailable as error:
            self._failed(error)
            return
        self._runs, self._structures, self._judgements = [], [], []
        if not self._works:
            self._works = True
            self._announce(f"what is learned is kept again in {self._file.path}")

    def _failed(self, error: StateUnavailable) -> None:
        if self._works:
            self._works = False
            self._announce(f"what is learned is not kept: {error}")


def _faded(speed: EndpointSpeed, name: str) -> EndpointKnowledge:
    """The speed as knowledge of the endpoint of this name: it counts the less the older it is."""
    weight = 0.5 ** (speed.age_s / _SPEED_HALF_LIFE_S)
    return EndpointKnowledge(
        name,
        tpot_s=speed.tpot_s,
        tpot_count=speed.tpot_count * weight,
        ttft_idle_s=speed.ttft_idle_s,
        ttft_count=speed.ttft_count * weight,
    )
