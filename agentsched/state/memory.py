"""The store of one process: shared by whoever was handed the same object, by nobody else."""

import threading
from collections.abc import Callable

from agentsched import clock
from agentsched.core.shared import Posting

__all__ = ["MemoryStore"]


class MemoryStore:
    """For schedulers in one process, and for tests; callable from any thread.

    Args:
        now: the clock by which postings age, seconds.
    """

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._held: dict[str, tuple[bytes, float, float]] = {}

    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        """See `StateStore.exchange`."""
        with self._lock:
            now = self._now()
            self._held[own.client] = (own.content, now, now + ttl_s)
            for client in [client for client, (_, _, until) in self._held.items() if until <= now]:
                del self._held[client]
            return [Posting(c, content, now - at) for c, (content, at, _) in self._held.items() if c != own.client]

    def withdraw(self, client: str) -> None:
        """See `StateStore.withdraw`."""
        with self._lock:
            self._held.pop(client, None)

    def close(self) -> None:
        """Nothing is open."""
