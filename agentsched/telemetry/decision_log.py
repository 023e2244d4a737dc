"""The decision log: where every run, call and attempt went, as JSON lines that several processes may share."""

import atexit
import logging
import os
import sys
from weakref import WeakSet

from agentsched import clock
from agentsched.errors import ConfigError
from agentsched.forking import ProcessLock, in_forked_child
from agentsched.telemetry.encoding import LogEncoder
from agentsched.telemetry.rotation import AppendFile
from agentsched.telemetry.writer import LogWriter

__all__ = ["DecisionLog"]

_log = logging.getLogger(__name__)

_CLOSE_S = 5.0
"""How long `close`, and the end of the process, wait for the file, seconds."""


class DecisionLog:
    """A `Sink` that writes records to a file, in a thread of its own.

    ``emit`` only queues: it costs about a microsecond, and neither a slow nor a full disk is felt by a model call.
    Records that cannot be kept are counted, the count is written when writing works again. After a fork the child
    writes with a thread of its own. What is queued is written at exit.

    Args:
        path: the file; it is opened, and its directory made, at the first record.
        max_bytes: size beyond which the file becomes ``path.1``, that one ``path.2`` and so on; 0: never.
        backups: older files that are kept; 0: none.
        prompts: write the heads of prompts; they can hold anything the users said.
        capacity: records that may wait to be written; further ones are lost.
        wall_offset_s: wall clock minus the clock of the records, seconds; None: as of now, for the monotonic clock.

    Raises:
        ConfigError: a bound is not usable.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = 64 << 20,
        backups: int = 3,
        prompts: bool = False,
        capacity: int = 20_000,
        wall_offset_s: float | None = None,
    ) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
            raise ConfigError("not a bound", field="log.capacity", given=capacity, allowed="an integer from 1 on")
        self.path = os.path.abspath(path)
        self._bounds = (max_bytes, backups)
        self._file()  # checks the bounds
        self._prompts, self._capacity = prompts, capacity
        self._offset_s = clock.wall() - clock.monotonic() if wall_offset_s is None else wall_offset_s
        self._writer: LogWriter | None = None
        self._over = False
        self._lock = ProcessLock()
        _LOGS.add(self)

    def emit(self, record: object) -> None:
        """Take one record; never blocks, never raises."""
        writer = self._writer or self._start()
        if writer is not None:
            writer.take(record)

    def flush(self, timeout_s: float = _CLOSE_S) -> bool:
        """Wait until everything emitted so far is in the file; False: it was not within ``timeout_s`` seconds."""
        writer = self._writer
        return writer is None or writer.flush(timeout_s)

    def close(self, timeout_s: float = _CLOSE_S) -> None:
        """Write what is queued, end the thread and close the file; a later record opens them anew.

        An unwritable file costs at most ``timeout_s`` seconds.
        """
        with self._lock:
            writer, self._writer = self._writer, None
        if writer is not None:
            writer.close(timeout_s)

    def __repr__(self) -> str:
        return f"DecisionLog({self.path!r}, {'idle' if self._writer is None else 'writing'})"

    def _file(self) -> AppendFile:
        max_bytes, backups = self._bounds
        return AppendFile(self.path, max_bytes=max_bytes, backups=backups)

    def _start(self) -> LogWriter | None:
        with self._lock:
            if self._writer is None and not self._over:
                encoder = LogEncoder(wall_offset_s=self._offset_s, prompts=self._prompts)
                try:
                    self._writer = LogWriter(self._file(), encoder, capacity=self._capacity)
                except RuntimeError as error:  # no thread can be started: the process is ending, or at its limit
                    self._over = True
                    _log.warning("decision log %s: nothing is written any more: %s", self.path, error)
                else:
                    _finish_with_worker(self)
            return self._writer

    def _finish(self) -> None:
        self._over = True
        self.close()

    def _after_fork(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abandon()


_LOGS: WeakSet[DecisionLog] = WeakSet()


def _finish_with_worker(log: DecisionLog) -> None:
    """Children of multiprocessing leave without running atexit; they have finalizers of their own."""
    processes, finalizers = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if processes is not None and finalizers is not None and processes.parent_process() is not None:
        finalizers.Finalize(None, log._finish, exitpriority=0)


def _finish_all() -> None:
    for log in list(_LOGS):
        log._finish()


def _renew_all() -> None:
    for log in list(_LOGS):
        log._after_fork()


atexit.register(_finish_all)
in_forked_child(_renew_all)
