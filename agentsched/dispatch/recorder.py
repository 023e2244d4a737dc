"""A record of everything the scheduler was told and did, for exact replay."""

import contextvars
import logging
import queue
import threading
from pathlib import Path
from typing import IO

from agentsched.scheduler.actions import Action
from agentsched.scheduler.events import Event
from agentsched.scheduler.recording import encode_line

__all__ = ["EventRecorder"]

_log = logging.getLogger(__name__)


class EventRecorder:
    """Keeps every (event, now, actions) for replay; encodes and writes them in a thread of its own, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[tuple[Event, float, list[Action]] | threading.Event | None] = queue.SimpleQueue()
        self._gap = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] | None = path.open("w", encoding="utf-8")
        self._thread = threading.Thread(target=self._work, name="agentsched-recorder", daemon=True)
        contextvars.Context().run(self._thread.start)

    def take(self, event: Event, now: float, actions: list[Action]) -> None:
        """Called under the scheduler's lock: only queues."""
        self._queue.put((event, now, actions))

    def _work(self) -> None:
        file = self._file
        assert file is not None
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, threading.Event):
                file.flush()
                item.set()
            else:
                self._write(file, *item)

    def _write(self, file: IO[str], event: Event, now: float, actions: list[Action]) -> None:
        try:
            line = encode_line(event, now, actions)
        except TypeError as error:  # a predictor of the user's own, say, which no file can hold
            if not self._gap:
                self._gap = True
                _log.warning("%s cannot be replayed from here on: %s (%s)", self._path, error, type(event).__name__)
            return
        file.write(line + "\n")

    def flush(self) -> None:
        """Wait until everything taken so far is in the file."""
        if self._thread.is_alive():
            done = threading.Event()
            self._queue.put(done)
            done.wait(30.0)

    def close(self) -> None:
        """Write what is left and close the file."""
        self._queue.put(None)
        self._thread.join(30.0)
        if self._file is not None:
            self._file.close()
            self._file = None
