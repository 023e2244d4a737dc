"""`instrument` and `uninstrument`: ``send`` of every httpx and httpx2 client, caught by replacing one public method.

Clients built before are caught too. Nothing is imported before the first `instrument`, and afterwards only the
libraries that are installed.

Someone else may replace ``send`` as well. Who did it before us is called by us. Who did it after us keeps calling us:
`uninstrument` must not take their work away, so then our function stays where it is and does nothing but pass on. A
later `instrument` goes on top again. A call that comes by twice is caught once: what we pass on, we pass on outside
the run.
"""

import functools
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from agentsched.intercept import sending
from agentsched.intercept.adapters import install_adapters, uninstall_adapters
from agentsched.intercept.family import Family, installed_families
from agentsched.workflow.scope import current_run

if TYPE_CHECKING:
    import httpx2

__all__ = ["instrument", "is_instrumented", "uninstrument"]


class _Patch:
    """One replaced ``send``."""

    def __init__(self, family: Family, owner: type, make: Callable[["_Patch", Family, Any], Any]) -> None:
        self.active = True
        self._owner = owner
        self._original = vars(owner)["send"]
        self._ours = make(self, family, self._original)
        owner.send = self._ours  # type: ignore[attr-defined]

    def undo(self) -> None:
        self.active = False
        if vars(self._owner).get("send") is self._ours:
            self._owner.send = self._original  # type: ignore[attr-defined]


_lock = threading.Lock()
_patches: list[_Patch] = []


def instrument() -> None:
    """Catch the model calls of all clients from now on; once is enough, more does no harm. Callable from any thread."""
    if _patches:
        return
    with _lock:
        for family in () if _patches else installed_families():
            _patches.append(_Patch(family, family.client, _blocking_send))
            _patches.append(_Patch(family, family.async_client, _async_send))
    install_adapters()


def uninstrument() -> None:
    """Put the original functions back; does nothing if nothing is instrumented. Callable from any thread."""
    with _lock:
        while _patches:
            _patches.pop().undo()
    uninstall_adapters()


def is_instrumented() -> bool:
    """Whether model calls are caught."""
    return bool(_patches)


def _blocking_send(patch: _Patch, family: Family, original: Callable[..., "httpx2.Response"]) -> Any:
    @functools.wraps(original)
    def send(client: "httpx2.Client", request: "httpx2.Request", **options: Any) -> "httpx2.Response":
        if not patch.active or current_run() is None:
            return original(client, request, **options)
        return sending.send_blocking(family, client, request, original, options)

    return send


def _async_send(patch: _Patch, family: Family, original: Callable[..., Awaitable["httpx2.Response"]]) -> Any:
    @functools.wraps(original)
    async def send(client: "httpx2.AsyncClient", request: "httpx2.Request", **options: Any) -> "httpx2.Response":
        if not patch.active or current_run() is None:
            return await original(client, request, **options)
        return await sending.send(family, client, request, original, options)

    return send
