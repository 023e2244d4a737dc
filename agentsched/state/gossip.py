"""The thread in which a client tells others what it does, and hears what they do: about twice a second."""

import logging
import threading
from collections.abc import Callable, Sequence

import numpy as np
from tenacity import RetryCallState, Retrying, retry_if_exception_type, sleep_using_event, stop_when_event_set

from agentsched.core.protocols import StateStore
from agentsched.core.shared import Posting
from agentsched.errors import StateUnavailable
from agentsched.threads import start_apart

__all__ = ["Gossip"]

_LIVES = 4.0
"""A posting expires after this many intervals: a client that died is forgotten then."""

_LONGEST_PAUSE_S = 5.0
"""Longest wait between two tries to reach a store that is away, seconds."""

_JITTER = 0.2
"""Intervals differ by this share, so that clients started together do not stay in step."""

_CLOSE_S = 5.0

_log = logging.getLogger("agentsched")

_inherited: list[object] = []
"""What a forked child must neither use nor close: SQLite allows no connection to be carried across a fork."""


class Gossip:
    """Exchanges postings with a store until it is closed. No call ever waits for it, or learns that the store is away.

    Args:
        store: where postings are exchanged; from now on this object's own.
        client: the name of this client among all that use the store.
        tell: makes what others are told, in the gossip's thread.
        hear: takes what others told, after every exchange, in the gossip's thread.
        announce: told once, in words, when the store is lost and when it is back.
        interval_s: mean seconds between two exchanges.
        rng: spreads them.
    """

    def __init__(
        self,
        store: StateStore,
        client: str,
        tell: Callable[[], bytes],
        hear: Callable[[Sequence[Posting]], None],
        announce: Callable[[str], None],
        interval_s: float,
        rng: np.random.Generator,
    ) -> None:
        self._store, self.client = store, client
        self._tell, self._hear, self._announce = tell, hear, announce
        self._interval_s, self._rng = interval_s, rng
        self._stop = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._work, name="agentsched-gossip", daemon=True)
        self._retrying = Retrying(
            retry=retry_if_exception_type(StateUnavailable),
            wait=self._pause_s,
            stop=stop_when_event_set(self._stop),
            sleep=sleep_using_event(self._stop),
            before_sleep=self._lost,
            reraise=True,
        )

    def start(self) -> None:
        """Begin; once.

        Raises:
            RuntimeError: no thread can be started.
        """
        start_apart(self._thread)

    @property
    def away(self) -> bool:
        """Whether the store could not be reached the last time it was asked."""
        return self._away

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                heard = self._retrying(self._exchange)
            except StateUnavailable:  # and there is no time left to try again
                break
            self._found()
            self._hear(heard)
            self._stop.wait(self._interval_s * self._rng.uniform(1.0 - _JITTER, 1.0 + _JITTER))
        self._leave()

    def _exchange(self) -> list[Posting]:
        return self._store.exchange(Posting(self.client, self._tell()), _LIVES * self._interval_s)

    def _pause_s(self, state: RetryCallState) -> float:
        longest = min(_LONGEST_PAUSE_S, self._interval_s * 2.0 ** min(state.attempt_number - 1, 16))
        return float(longest * self._rng.uniform(0.5, 1.0))

    def _lost(self, state: RetryCallState) -> None:
        if self._away or self._stop.is_set():
            return
        self._away = True
        error = None if state.outcome is None else state.outcome.exception()
        _log.warning("the shared state is out of reach, this process goes on with its own: %s", error)
        self._announce("the shared state is out of reach: this process decides by what it sees itself")

    def _found(self) -> None:
        if self._away:
            self._away = False
            _log.warning("the shared state is back")
            self._announce("the shared state is back")

    def _leave(self) -> None:
        try:
            self._store.withdraw(self.client)
        except StateUnavailable as error:
            _log.debug("could not take leave of the shared state: %s", error)
        self._store.close()

    def close(self) -> None:
        """Take leave of the others and end the thread; idempotent."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S)

    def abandon(self) -> None:
        """In a forked child: this belongs to the parent. Nothing of it is used, closed or collected here."""
        _inherited.append(self)
