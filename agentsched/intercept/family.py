"""The two HTTP libraries under the model SDKs: httpx (openai 2) and httpx2 (openai 3), one shape, two modules."""

import importlib
import sys
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2

__all__ = ["NAMES", "Family", "as_stream", "loaded_families", "loaded_family"]

NAMES = ("httpx", "httpx2")


@dataclass(frozen=True, slots=True)
class Family:
    """The public names of one of the libraries that this room uses, typed as httpx2's: httpx has the same.

    Attributes:
        name: of the module.
        assigns_content: whether a response holds its body in the attribute that `answering.whole` fills. Filling it
            saves two thirds of what building a response costs; where the attribute has moved, the body is read instead.
    """

    name: str
    client: type["httpx2.Client"]
    async_client: type["httpx2.AsyncClient"]
    response: type["httpx2.Response"]
    sync_stream: type["httpx2.SyncByteStream"]
    async_stream: type["httpx2.AsyncByteStream"]
    byte_stream: type["httpx2.ByteStream"]
    not_read: type["httpx2.RequestNotRead"]
    request_error: type["httpx2.RequestError"]
    timeout_error: type["httpx2.TimeoutException"]
    read_timeout: type["httpx2.ReadTimeout"]
    connect_error: type["httpx2.ConnectError"]
    read_error: type["httpx2.ReadError"]
    assigns_content: bool


def loaded_families() -> tuple[Family, ...]:
    """Those of the libraries that the program has loaded, without doubles where one stands in for the other."""
    found: list[Family] = []
    for name in NAMES:
        family = loaded_family(name)
        if family is not None and all(family.client is not other.client for other in found):
            found.append(family)
    return tuple(found)


def loaded_family(name: str) -> Family | None:
    """The library of this name if the program has loaded it; None if not, or not yet wholly.

    It is never loaded from here: the openai SDK 3 looks for httpx in ``sys.modules`` whenever it makes a client, and
    would find a half-loaded module if another thread happened to import it just then.
    """
    if name not in sys.modules:
        return None
    module = importlib.import_module(name)  # waits until a thread that is importing it has done so
    needed = ("Client", "AsyncClient", "Response", "ByteStream", "RequestNotRead", "ConnectError")
    return _family(name, module) if all(hasattr(module, public) for public in needed) else None


def _family(name: str, module: ModuleType) -> Family:
    probe: httpx2.Response = module.Response(200, content=b"whole")
    return Family(
        name=name,
        client=module.Client,
        async_client=module.AsyncClient,
        response=module.Response,
        sync_stream=module.SyncByteStream,
        async_stream=module.AsyncByteStream,
        byte_stream=module.ByteStream,
        not_read=module.RequestNotRead,
        request_error=module.RequestError,
        timeout_error=module.TimeoutException,
        read_timeout=module.ReadTimeout,
        connect_error=module.ConnectError,
        read_error=module.ReadError,
        assigns_content=vars(probe).get("_content") == b"whole",
    )


@cache
def as_stream(family: Family, kind: type) -> type:
    """``kind`` as a class that this library takes for one of its byte streams: it checks with ``isinstance``."""
    base = family.async_stream if hasattr(kind, "__anext__") else family.sync_stream
    return type(kind.__name__, (kind, base), {})
