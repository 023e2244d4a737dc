"""Whether a client talks to the network, or to something the user put in its place."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2

__all__ = ["is_custom_transport"]

_NETWORK = frozenset(
    {
        "httpx._transports.default",
        "httpx2._transports.default",
        "httpx_aiohttp.transport",
        "httpx_aiohttp.httpx2.transport",
        "openai._vendor.httpx_aiohttp.transport",
        "openai._vendor.httpx_aiohttp.httpx2.transport",
        "litellm.llms.custom_httpx.aiohttp_transport",
    }
)
"""Modules whose transports open connections and do nothing else."""

_CORES = ("httpcore.", "httpcore2.")


def is_custom_transport(client: "httpx2.Client | httpx2.AsyncClient", request: "httpx2.Request") -> bool:
    """Whether the request would be answered by a stub or by the user's own code instead of a plain connection.

    The module that defines the transport's method decides, so that a subclass which changes nothing is plain, while
    MockTransport, ASGITransport, a subclass with its own ``handle_request`` and a library that replaces that method
    (respx and pytest-httpx, in httpx or in httpcore below it) are custom.
    """
    pick = getattr(client, "_transport_for_url", None)
    if pick is None:
        return False
    transport = pick(request.url)
    kind = type(transport)
    name = "handle_async_request" if hasattr(kind, "handle_async_request") else "handle_request"
    if _home(kind, name) not in _NETWORK:
        return True
    pool = getattr(transport, "_pool", None)
    return pool is not None and not _home(type(pool), name).startswith(_CORES)


def _home(kind: type, name: str) -> str:
    method: Any = getattr(kind, name, None)
    return getattr(method, "__module__", None) or ""
