"""The thread that writes the decision log, and the queue that feeds it."""

import logging
import queue
import threading
from collections import deque

from agentsched import clock
from agentsched.telemetry.encoding import LogEncoder
from agentsched.telemetry.rotation import AppendFile

__all__ = ["LogWriter"]

_GATHER_S = 0.25
"""How long records gather before they are written together: an idle log wakes nobody, a busy one four times a
second."""

_BATCH = 4096
_SLICE = 64
_PAUSE_S = 0.0002
"""After each slice of records, about a millisecond's work, the writer lets go of the interpreter, or encoding would
hold up the event loops. Each pause makes the threads take the interpreter from one another, which costs more than a
record.
"""

_RETRY_S = (0.5, 30.0)
"""First and longest wait after a failed write, seconds; doubled in between."""

_log = logging.getLogger(__name__)


class _Mark:
    """Stands in the queue behind everything that was emitted before it."""

    def __init__(self) -> None:
        self.written = threading.Event()


class LogWriter:
    """Owns one queue, one thread and one open file; belongs to the process that made it.

    Args:
        file: where the lines go.
        encoder: makes the lines.
        capacity: records that may wait; further ones are dropped and counted.
    """

    def __init__(self, file: AppendFile, encoder: LogEncoder, *, capacity: int) -> None:
        self._file, self._encoder, self._capacity = file, encoder, capacity
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._lines: deque[bytes] = deque()
        self._lost = 0
        self._lost_lock = threading.Lock()
        self._loss_announced = False
        self._hurry, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentsched-log", daemon=True)
        self._thread.start()

    def take(self, record: object) -> None:
        """Queue a record, or count it as lost when the queue is full."""
        if self._queue.qsize() >= self._capacity:
            self._lose(1)
        else:
            self._queue.put(record)

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything taken so far is in the file; False: it took longer than ``timeout_s`` seconds."""
        mark = _Mark()
        self._queue.put(mark)
        self._hurry.set()
        return mark.written.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Write what is left, trying once, and end the thread; waits at most ``timeout_s`` seconds for it."""
        self._stop.set()
        self._hurry.set()
        self._queue.put(_Mark())
        self._thread.join(timeout_s)

    def abandon(self) -> None:
        """Forget the open file: for the child of a fork, which has the descriptor but not the thread."""
        self._file.close()

    def _run(self) -> None:
        while not (self._stop.is_set() and self._queue.empty()):
            first = self._queue.get()
            if not isinstance(first, _Mark):
                self._hurry.wait(_GATHER_S)
            marks = self._encode(first)
            if self._write():
                for mark in marks:
                    mark.written.set()
            if marks or self._queue.empty():
                self._hurry.clear()
        self._file.close()
        if self._lost:
            self._warn("closed with %d records unwritten", self._lost)

    def _encode(self, item: object) -> list[_Mark]:
        """Turn what is queued, ``item`` first, into lines; the marks among it are returned."""
        marks: list[_Mark] = []
        for count in range(1, _BATCH + 1):
            if isinstance(item, _Mark):
                marks.append(item)
            else:
                self._encode_one(item)
            if count % _SLICE == 0:
                self._hurry.wait(_PAUSE_S)  # no pause when somebody waits for the file
            if count == _BATCH or self._queue.empty():  # only this thread takes from it
                break
            item = self._queue.get()
        return marks

    def _encode_one(self, record: object) -> None:
        try:
            line = self._encoder.line(record)
        except Exception as error:  # noqa: BLE001 - a record that has no form in JSON must not end the log
            self._lose(1)
            self._warn("a record could not be written: %s", error)
            return
        if line is not None:
            self._lines.append(line)

    def _write(self) -> bool:
        """Write the lines, however long the file is unwritable; False: given up, because the log is being closed."""
        wait_s, failing = _RETRY_S[0], False
        while True:
            try:
                self._file.append(self._lines)
                if not (lost := self._take_lost()):
                    break
                self._lines.append(self._encoder.lost_line(lost, at=clock.monotonic()))
            except OSError as error:
                if not failing:
                    self._warn("cannot be written (%s): tried again until it can, calls go on", error)
                failing = True
                if self._stop.is_set():
                    self._lose(len(self._lines))
                    self._lines.clear()
                    return False
                self._hurry.wait(wait_s)
                self._hurry.clear()
                wait_s = min(2 * wait_s, _RETRY_S[1])
        if failing:
            self._warn("can be written again")
        return True

    def _lose(self, count: int) -> None:
        with self._lost_lock:
            self._lost += count

    def _take_lost(self) -> int:
        with self._lost_lock:
            lost, self._lost = self._lost, 0
        if lost and not self._loss_announced:
            self._loss_announced = True
            self._warn("%d records were lost; from here on only the log itself tells of further ones", lost)
        return lost

    def _warn(self, text: str, *values: object) -> None:
        _log.warning("decision log %s: " + text, self._file.path, *values)
