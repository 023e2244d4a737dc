"""Learning while calls run: a thread of its own, so that no event loop ever waits for it."""

import contextvars
import queue
import threading
from collections.abc import Callable

from agentsched.core.call import Observation
from agentsched.forecast.learner import LengthLearner
from agentsched.forecast.length import EmpiricalLengths

__all__ = ["BackgroundLearner"]

_LEARN_EVERY_S = 0.25
"""New knowledge is handed to the scheduler at most this often, seconds."""


class BackgroundLearner:
    """Takes observations from any thread and hands out what they taught.

    Args:
        learned: takes new knowledge, in the learner's thread.
    """

    def __init__(self, learned: Callable[[EmpiricalLengths], None]) -> None:
        self._learned = learned
        self._learner = LengthLearner()
        self._queue: queue.SimpleQueue[Observation | threading.Event | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def take(self, observation: Observation) -> None:
        """Learn this soon."""
        self._queue.put(observation)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._work, name="agentsched-learn", daemon=True)
        contextvars.Context().run(self._thread.start)

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            waiting = self._absorb(item)
            if not waiting:
                self._stop.wait(_LEARN_EVERY_S)
            while not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    return
                waiting.extend(self._absorb(following))
            snapshot = self._learner.snapshot()
            if snapshot is not None:
                self._learned(snapshot)
            for event in waiting:
                event.set()

    def _absorb(self, item: Observation | threading.Event) -> list[threading.Event]:
        if isinstance(item, threading.Event):
            return [item]
        self._learner.learn(item)
        return []

    def flush(self) -> None:
        """Wait until everything taken so far is in force."""
        if self._thread is not None:
            done = threading.Event()
            self._queue.put(done)
            done.wait(10 * _LEARN_EVERY_S)

    def close(self) -> None:
        """End the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            self._queue.put(None)
            thread.join(1.0)
