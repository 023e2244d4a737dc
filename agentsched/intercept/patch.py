"""`instrument` and `uninstrument`: ``send`` of every httpx and httpx2 client, caught by replacing one public method.

Clients built before are caught too. The libraries are never imported from here: one that is loaded is patched at once,
one that comes later when it has come.

Someone else may replace ``send`` as well. Who did it before us is called by us. Who did it after us keeps calling us:
`uninstrument` must not take their work away, so then our function stays where it is and does nothing but pass on. A
later `instrument` goes on top again. A call that comes by twice is caught once: what we pass on, we pass on outside
the run.
"""

import functools
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from agentsched.intercept import sending
from agentsched.intercept.adapters import install_adapters, uninstall_adapters
from agentsched.intercept.family import NAMES, Family, loaded_family
from agentsched.workflow.arrival import ArrivalWatch
from agentsched.workflow.frame import current_frame

if TYPE_CHECKING:
    import httpx2

__all__ = ["instrument", "is_instrumented", "uninstrument"]


class _Patch:
    """One replaced ``send``."""

    def __init__(self, family: Family, owner: type, make: Callable[["_Patch", Family, Any], Any]) -> None:
        self.active = True
        self.owner = owner
        self._original = vars(owner)["send"]
        # As the class hands it out: a wrapper that is a descriptor (wrapt's) must learn whose method it is.
        self._ours = make(self, family, owner.send)  # type: ignore[attr-defined]
        owner.send = self._ours  # type: ignore[attr-defined]

    def undo(self) -> None:
        self.active = False
        if vars(self.owner).get("send") is self._ours:
            self.owner.send = self._original  # type: ignore[attr-defined]


_lock = threading.RLock()
_patches: dict[str, list[_Patch]] = {}
_on = False


def instrument() -> None:
    """Catch the model calls of all clients from now on; once is enough, more does no harm. Callable from any thread."""
    global _on
    if not _on:
        with _lock:
            _on = True
            _watch.start()
    for name in NAMES:
        if name not in _patches and name in sys.modules:
            _catch(name)
    install_adapters()


def _catch(name: str) -> None:
    """Patch a library that has been loaded."""
    family = loaded_family(name)
    with _lock:
        if not _on or family is None or name in _patches:
            return
        taken = [patch for patches in _patches.values() for patch in patches]
        if any(patch.owner is family.client for patch in taken):
            _patches[name] = []  # this one stands in for the other
        else:
            blocking = _Patch(family, family.client, _blocking_send)
            _patches[name] = [blocking, _Patch(family, family.async_client, _async_send)]


_watch = ArrivalWatch(NAMES, _catch)


def uninstrument() -> None:
    """Put the original functions back; does nothing if nothing is instrumented. Callable from any thread."""
    global _on
    with _lock:
        _on = False
        _watch.stop()
        for patches in _patches.values():
            for patch in patches:
                patch.undo()
        _patches.clear()
    uninstall_adapters()


def is_instrumented() -> bool:
    """Whether model calls are caught."""
    return _on


def _blocking_send(patch: _Patch, family: Family, original: Callable[..., "httpx2.Response"]) -> Any:
    @functools.wraps(original)
    def send(client: "httpx2.Client", request: "httpx2.Request", **options: Any) -> "httpx2.Response":
        if not patch.active or current_frame().run is None:
            return original(client, request, **options)
        return sending.send_blocking(family, client, request, original, options)

    return send


def _async_send(patch: _Patch, family: Family, original: Callable[..., Awaitable["httpx2.Response"]]) -> Any:
    @functools.wraps(original)
    async def send(client: "httpx2.AsyncClient", request: "httpx2.Request", **options: Any) -> "httpx2.Response":
        if not patch.active or current_frame().run is None:
            return await original(client, request, **options)
        return await sending.send(family, client, request, original, options)

    return send
