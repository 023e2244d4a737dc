"""This process among the others that use the same endpoints: it tells them its load, and its scheduler theirs."""

import logging
import os
import socket
from collections.abc import Callable, Sequence

import numpy as np

from agentsched import clock
from agentsched.core.endpoint import Endpoint
from agentsched.core.load import combined_loads
from agentsched.core.protocols import StateStore
from agentsched.core.shared import Posting, combined_knowledge
from agentsched.dispatch.dispatcher import Dispatcher
from agentsched.forking import ProcessLock
from agentsched.scheduler.events import OthersKnow, OthersSeen
from agentsched.settings.advice import is_loopback
from agentsched.state.contents import decoded, encoded, endpoint_key
from agentsched.state.gossip import Gossip

__all__ = ["Neighbours", "keys_of"]

_GOOD_INTERVALS = 2.0
"""Loads are believed as they stand for this many intervals."""

_log = logging.getLogger("agentsched")


class Neighbours:
    """Joined by the first run; calls never wait for it.

    Args:
        dispatcher: whose scheduler tells and is told.
        endpoints: the pool's.
        open_store: makes the store, anew after every fork and every `leave`.
        interval_s: seconds between two exchanges.
        announce: told in words when the store is lost and when it is back.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        endpoints: Sequence[Endpoint],
        open_store: Callable[[], StateStore],
        interval_s: float,
        announce: Callable[[str], None],
    ) -> None:
        self._dispatcher, self._open_store = dispatcher, open_store
        self._interval_s, self._announce = interval_s, announce
        self._keys = keys_of(endpoints, socket.gethostname())
        self._names = {key: name for name, key in self._keys.items()}
        self._joining = ProcessLock()
        self._gossip: Gossip | None = None
        self._alone = True
        self._told_of_strangers = False

    def join(self) -> None:
        """Begin, if that has not happened yet; takes nothing once it has."""
        if self._gossip is not None:
            return
        with self._joining:
            if self._gossip is None:
                rng = np.random.default_rng()
                client = f"{socket.gethostname()}:{os.getpid()}:{rng.bytes(6).hex()}"
                gossip = Gossip(
                    self._open_store(), client, self._tell, self._hear, self._announce, self._interval_s, rng
                )
                try:
                    gossip.start()
                except RuntimeError as error:  # no thread can be started now: the run goes on, the next one tries again
                    _log.debug("nothing is told to other processes: %s", error)
                else:
                    self._gossip = gossip

    def _tell(self) -> bytes:
        loads, knowledge = self._dispatcher.look(lambda scheduler, now: (scheduler.loads(), scheduler.knowledge(now)))
        return encoded(loads, knowledge, self._keys)

    def _hear(self, postings: Sequence[Posting]) -> None:
        told = []
        for posting in postings:
            if not posting.content:  # `agentsched check` only listens
                continue
            try:
                told.append(decoded(posting.content, self._names))
            except ValueError as error:
                self._misunderstood(posting.client, error)
        if not told and self._alone:
            return
        self._alone = not told
        at = clock.monotonic() - float(np.mean([posting.age_s for posting in postings] or [0.0]))
        loads = combined_loads(loads for loads, _ in told)
        good_s = _GOOD_INTERVALS * self._interval_s
        self._dispatcher.post(OthersSeen(loads, at, good_s=good_s, clients=len(told)))
        self._dispatcher.post(OthersKnow(combined_knowledge(knowledge for _, knowledge in told), at))

    def _misunderstood(self, client: str, error: ValueError) -> None:
        """Of another version, say: that its load is unknown here is told once, as it will be so for long."""
        level = logging.DEBUG if self._told_of_strangers else logging.WARNING
        self._told_of_strangers = True
        _log.log(level, "what %s tells cannot be read, is it of another version of agentsched? %s", client, error)

    def leave(self) -> None:
        """Tell the others that this process is gone, and end the thread; a later `join` begins anew."""
        with self._joining:
            gossip, self._gossip = self._gossip, None
        if gossip is not None:
            gossip.close()

    def abandon(self) -> None:
        """In a forked child: what runs here runs in the parent."""
        if self._gossip is not None:
            self._gossip.abandon()


def keys_of(endpoints: Sequence[Endpoint], host: str) -> dict[str, str]:
    """Name -> key of each endpoint. ``host`` is this machine's name: loopback addresses lead nowhere else.

    Where two endpoints are the same server and model, their names tell them apart: all clients must use the same then.
    """
    keys = {one.name: endpoint_key(one, host if is_loopback(one.base_url) else "") for one in endpoints}
    counts = list(keys.values())
    return {name: key if counts.count(key) == 1 else f"{key}:{name}" for name, key in keys.items()}
