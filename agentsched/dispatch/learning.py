"""Learning while calls run: a thread of its own, so that no event loop ever waits for it."""

import functools
import logging
import queue
import threading
from collections.abc import Callable, Mapping

from agentsched import clock
from agentsched.core.call import Observation
from agentsched.core.records import CallEnded, Feedback, RunClosed, StructureTold
from agentsched.dispatch.remembering import Memory
from agentsched.dispatch.run_sampling import RunSampling
from agentsched.dispatch.trained_lengths import Training
from agentsched.dispatch.training import Trained
from agentsched.forecast.calibration import Drift
from agentsched.forecast.length import EmpiricalLengths, Scope
from agentsched.forecast.length_learner import LengthLearner
from agentsched.forecast.quality import EmpiricalQualities
from agentsched.forecast.quality_learner import QualityLearner
from agentsched.forecast.relearning import Relearned, Relearning, Trial
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.forecast.remainder_learner import RemainderLearner
from agentsched.forking import ProcessLock
from agentsched.threads import start_apart

__all__ = ["BackgroundLearner", "Lesson"]

_log = logging.getLogger("agentsched")

_LEARN_EVERY_S = 0.25
"""New knowledge is handed to the scheduler at most this often, seconds."""

_LESSONS_AT_ONCE = 16
_BREATH_S = 0.001
"""After so many lessons the thread rests so long, seconds: an event loop that waits for the interpreter gets it."""

_STEPS_AT_ONCE = 4
_PAUSE_S = 0.004
"""Learning anew works a fifth of the time: about a millisecond, then it rests so long, seconds. It has the priority of
any other thread: one of a low priority would be put off while it holds the interpreter, which every other waits for."""

_FLUSH_S = 10.0

Lesson = Observation | CallEnded | RunClosed | StructureTold | Feedback
"""The records that teach something."""

_Item = Lesson | Trial | Trained | str | threading.Event


class BackgroundLearner:
    """Takes lessons from any thread and hands out what they taught.

    Args:
        learned: takes new knowledge, in the learner's thread.
        coverage_lost: is told, there too, when the lengths of a step have changed.
        relearned: is told, there too, what became of learning a workflow anew after that.
        memory: keeps what was learned for the next process, and knows what earlier ones kept; None: nothing does.
        models: endpoint -> model, for endpoints whose answers are equally good.
        train: what is trained in the background, ``network`` or ``experts``, and the seconds for it; None: nothing is.
        trained: is told, in the learner's thread, what came of it.
    """

    def __init__(
        self,
        learned: Callable[[EmpiricalLengths, EmpiricalRemainders, EmpiricalQualities], None],
        coverage_lost: Callable[[Drift[Scope]], None],
        relearned: Callable[[Relearned], None],
        memory: Memory | None = None,
        models: Mapping[str, str] | None = None,
        train: tuple[str, float] | None = None,
        trained: Callable[[str], None] | None = None,
    ) -> None:
        self._learned, self._coverage_lost, self._relearned = learned, coverage_lost, relearned
        self._memory = memory
        self._to_recall = memory is not None
        self._lengths, self._remainders = LengthLearner(), RemainderLearner()
        self._relearning = Relearning(self._lengths)
        self._drifts: list[Drift[Scope]] = []
        self._results: list[Relearned] = []
        self._aside: threading.Thread | None = None
        self._qualities = QualityLearner(models or {})
        self._known = (EmpiricalLengths(), EmpiricalRemainders(guess=True), EmpiricalQualities())
        self._training = None if train is None else Training(*train, self._tell, self._lengths, memory, trained)
        self._sampling = RunSampling(clock.monotonic())
        self._told_sampling = False
        self._thread: threading.Thread | None = None
        self._former: threading.Thread | None = None
        self._over = False
        self._starting = ProcessLock()
        self._stop = threading.Event()

    @property
    def remainders(self) -> EmpiricalRemainders:
        """What is known of what follows a step."""
        return self._known[1]

    def begin(self) -> None:
        """Recall what earlier processes learned, soon; needed once, before the first calls."""
        if self._to_recall and self._thread is None:
            self._start()

    def take(self, lesson: Lesson) -> None:
        """Learn this soon."""
        if self._thread is None:
            self._start()
        if not self._over:
            self._tell(lesson)

    @functools.cached_property
    def _queue(self) -> "queue.SimpleQueue[_Item | None]":
        """Made by `_start`, not before: of gevent's kind where that has replaced it."""
        return queue.SimpleQueue()

    def _tell(self, item: _Item) -> None:
        self._queue.put(item)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._stop.clear()
                _ = self._queue
                thread = threading.Thread(target=self._work, args=(self._former,), name="agentsched-learn", daemon=True)
                try:
                    start_apart(thread)
                except RuntimeError:  # no thread can be started: the process is ending, or at its limit
                    self._over = True
                else:
                    self._thread, self._over = thread, False

    def _work(self, former: threading.Thread | None) -> None:
        if former is not None:  # lessons that come while it is being closed: it may not be done with those before them
            former.join()
        if self._to_recall:
            self._to_recall = False
            self._recall()
        self._sampling, used_s = RunSampling(clock.monotonic()), clock.thread_cpu()
        while True:
            item = self._queue.get()
            flushes: list[threading.Event] = []
            if not isinstance(item, threading.Event):
                self._stop.wait(_LEARN_EVERY_S)
            taken = 0
            while item is not None:
                self._absorb(item, flushes)
                taken += 1
                if taken % _LESSONS_AT_ONCE == 0:
                    used_s = self._account(used_s)
                    self._stop.wait(_BREATH_S)
                if self._queue.empty():
                    break
                item = self._queue.get()
            self._hand_out()
            used_s = self._account(used_s)
            if self._memory is not None:
                self._memory.keep(now=item is None or bool(flushes))
            for event in flushes:
                event.set()
            if item is None:
                return

    def _account(self, used_s: float) -> float:
        """Tell what learning has cost; answers this thread's CPU seconds."""
        now_s = clock.thread_cpu()
        self._sampling.spent(now_s - used_s, clock.monotonic())
        if self._sampling.skipped and not self._told_sampling:
            self._told_sampling = True
            _log.info("more calls end than a fiftieth of a core can learn from: some runs are left out")
        return now_s

    def _recall(self) -> None:
        """Learn from the runs that were kept, resting as often as with new ones."""
        assert self._memory is not None
        profiles = self._memory.recall()
        for workflow, structure in profiles.structures:
            self._remainders.structure_seen(workflow, structure)
        for judgement in profiles.judgements:
            self._qualities.recalled(judgement)
        if self._training is not None:
            self._training.recall(profiles.weights)
        taken = 0
        for run in profiles.runs:
            for call in run.calls:
                self._qualities.call_ended(call)
                self._learn(call)
            self._learn(run.closed)
            trial = self._relearning.due()
            if trial is not None and self._work_at(trial):
                self._relearning.finished(trial)
            taken += len(run.calls)
            if taken >= _LESSONS_AT_ONCE:
                taken = 0
                self._stop.wait(_BREATH_S)
        self._drifts, self._results = [], []  # long over
        self._hand_out()

    def _absorb(self, item: _Item, flushes: list[threading.Event]) -> None:
        if isinstance(item, threading.Event):
            flushes.append(item)
            return
        if isinstance(item, Trial):
            self._results.append(self._relearning.finished(item))
            return
        if isinstance(item, (Trained, str)):
            if self._training is not None:
                self._training.came(item)
            return
        if isinstance(item, CallEnded):
            self._qualities.call_ended(item)  # a score may come for any run
            wanted = self._sampling.wanted(item.call.run_id)
        else:
            wanted = not isinstance(item, RunClosed) or self._sampling.ended(item.run.run_id)
        if wanted:
            self._learn(item)
            if self._memory is not None:
                self._memory.take(item)

    def _learn(self, item: Lesson) -> None:
        match item:
            case Observation():
                self._lengths.learn(item)
            case CallEnded():
                self._learn_length(item)
                self._remainders.call_ended(item)
            case RunClosed():
                self._lengths.run_closed(item)
                self._remainders.run_closed(item)
            case StructureTold():
                self._remainders.structure_seen(item.workflow, item.structure)
            case Feedback():
                judgements = self._qualities.scored(item)
                if self._memory is not None:
                    self._memory.judged(judgements)

    def _learn_length(self, record: CallEnded) -> None:
        ended = self._relearning.saw(record, self._lengths.call_ended(record))
        if ended is not None:
            self._results.append(ended)
        for drift in self._lengths.take_drifts():
            self._relearning.changed(drift)
            if self._training is not None:
                self._training.changed()
            self._drifts.append(drift)

    # -- learning anew -----------------------------------------------------------------------------------------------

    def _try_anew(self) -> None:
        """Begin to learn a workflow anew, in a thread beside this one, if it is time to and none is at it."""
        if self._stop.is_set() or (self._aside is not None and self._aside.is_alive()):
            return
        trial = self._relearning.due()
        if trial is None:
            return

        def work() -> None:
            if self._work_at(trial):
                self._queue.put(trial)

        self._aside = threading.Thread(target=work, name="agentsched-relearn", daemon=True)
        start_apart(self._aside)

    def _work_at(self, trial: Trial) -> bool:
        """Do a trial's work, resting most of the time; answers whether it was done, and not ended by `close`."""
        for done, _ in enumerate(trial.work()):
            if done % _STEPS_AT_ONCE == 0 and self._stop.wait(_PAUSE_S):
                return False
        return True

    # -- handing out -------------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        lengths, remainders, qualities = self._known
        self._known = (
            self._lengths.snapshot() or lengths,
            self._remainders.snapshot() or remainders,
            self._qualities.snapshot() or qualities,
        )
        if any(new is not old for new, old in zip(self._known, (lengths, remainders, qualities), strict=True)):
            self._learned(*self._known)
        drifts, self._drifts = self._drifts, []
        for drift in drifts:
            self._coverage_lost(drift)
        results, self._results = self._results, []
        for result in results:
            self._relearned(result)
        self._try_anew()
        if self._training is not None and not self._stop.is_set():
            self._training.go_on()

    def flush(self) -> None:
        """Wait until everything taken so far is in force."""
        if self._thread is not None:
            done = threading.Event()
            self._queue.put(done)
            done.wait(_FLUSH_S)

    def close(self) -> None:
        """End the thread once it has learned what was taken."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._former = thread
            self._stop.set()
            self._queue.put(None)
            thread.join(_FLUSH_S)
        aside, self._aside = self._aside, None
        if aside is not None:
            aside.join(_FLUSH_S)
        if self._training is not None:
            self._training.close()
