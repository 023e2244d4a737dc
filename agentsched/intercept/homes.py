"""Where stored responses live: a call that continues one must go to the endpoint that made it."""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakKeyDictionary

__all__ = ["ResponseHomes", "homes_of"]

_LIMIT = 4096
_SEARCHED = 16_384
_ID = re.compile(rb'"id"\s*:\s*"(resp[^"\\]*)"')


class ResponseHomes:
    """Response id -> endpoint name, for the 4,096 used last; from any thread."""

    def __init__(self) -> None:
        self._homes: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, response_id: str) -> str | None:
        """The endpoint that made the response; None: it was made elsewhere, or long ago."""
        with self._lock:
            home = self._homes.get(response_id)
            if home is not None:
                self._homes.move_to_end(response_id)
            return home

    def remember(self, response_id: str, endpoint: str) -> None:
        """Note who made a response."""
        with self._lock:
            self._homes[response_id] = endpoint
            self._homes.move_to_end(response_id)
            if len(self._homes) > _LIMIT:
                self._homes.popitem(last=False)

    def reader(self, endpoint: str) -> Callable[[bytes], None]:
        """What to feed an answer of ``endpoint`` to, in chunks; the id stands in the first event, or near the start."""
        seen: bytearray | None = bytearray()

        def read(chunk: bytes) -> None:
            nonlocal seen
            if seen is None:
                return
            seen += chunk
            if found := _ID.search(seen):
                self.remember(found.group(1).decode(), endpoint)
            if found or len(seen) > _SEARCHED:
                seen = None

        return read


_homes: WeakKeyDictionary[object, ResponseHomes] = WeakKeyDictionary()


def homes_of(runtime: object) -> ResponseHomes:
    """The homes known to ``runtime``: endpoint names mean something within one runtime only."""
    found = _homes.get(runtime)
    return _homes.setdefault(runtime, ResponseHomes()) if found is None else found
