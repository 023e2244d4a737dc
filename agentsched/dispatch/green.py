"""An event loop in one of gevent's threads, which are all one thread of the system.

asyncio notes per thread of the system which loop runs in it. Other greenlets must not find the portal's there: to
``asyncio.run`` and to whatever asks whether it is called from a coroutine they would seem to be inside it.
"""

import asyncio
import importlib
import selectors
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["GreenLoop", "threads_are_green"]

_MONKEY = "gevent.monkey"

_Looks = tuple[asyncio.AbstractEventLoop | None, Any]
"""The loop that seems to run in this thread, and the hooks of its asynchronous generators."""


def threads_are_green() -> bool:
    """Whether gevent has replaced what threads are."""
    return _MONKEY in sys.modules and bool(importlib.import_module(_MONKEY).is_module_patched("threading"))


class GreenLoop(asyncio.SelectorEventLoop):
    """A loop that runs in a greenlet unseen by the others; only while it waits do these go on."""

    def __init__(self) -> None:
        self._stepping = _Stepping(selectors.DefaultSelector(), self)
        super().__init__(self._stepping)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Around everything that runs the loop, which otherwise refuses to where another one seems to run."""
        before = self._stepping.before = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
        _put_back(None, before[1])
        try:
            yield
        finally:
            _put_back(*self._stepping.before)


class _Stepping(selectors.BaseSelector):
    """Steps aside while it waits: what the thread looked like to the others is put back for them."""

    before: _Looks

    def __init__(self, inner: selectors.BaseSelector, loop: asyncio.AbstractEventLoop) -> None:
        self._inner, self._loop = inner, loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        hooks = sys.get_asyncgen_hooks()
        _put_back(*self.before)
        try:
            return self._inner.select(timeout)
        finally:
            self.before = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
            _put_back(self._loop, hooks)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


def _put_back(running: asyncio.AbstractEventLoop | None, hooks: Any) -> None:
    asyncio._set_running_loop(running)
    sys.set_asyncgen_hooks(*hooks)
