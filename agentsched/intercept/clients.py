"""`OpenAI` and `AsyncOpenAI` for those who would rather not have anything patched.

They are the SDK's own classes; the HTTP client inside has its model calls scheduled whenever a run is current, whether
or not `agentsched.instrument` was called. The SDK is imported when one of the names is first asked for.
"""

import asyncio
import functools
import importlib
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agentsched.intercept import sending
from agentsched.intercept.family import Family, loaded_families

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

__all__ = ["AsyncOpenAI", "OpenAI", "async_http_client", "http_client", "scheduled"]

_SDK_CLASSES = ("AsyncOpenAI", "OpenAI")


def __getattr__(name: str) -> Any:
    if name in _SDK_CLASSES:
        return _scheduled_class(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _scheduled_class(name: str) -> type:
    """``openai.OpenAI`` or ``openai.AsyncOpenAI`` with a scheduled HTTP client, which ``with_options`` keeps.

    Raises:
        ImportError: the SDK is not installed.
    """
    base: Any = getattr(_sdk(f"agentsched.{name}"), name)
    default = async_http_client if name == "AsyncOpenAI" else http_client

    def init(self: Any, *, http_client: Any = None, **options: Any) -> None:
        base.__init__(self, http_client=default() if http_client is None else scheduled(http_client), **options)

    doc = (
        f"``openai.{name}`` whose model calls inside a workflow are scheduled.\n\n"
        "Takes what the SDK's class takes. An ``http_client`` of your own gets its ``send`` wrapped."
    )
    return type(name, (base,), {"__init__": init, "__doc__": doc, "__module__": __name__})


def _sdk(needed_by: str) -> Any:
    try:
        return importlib.import_module("openai")
    except ModuleNotFoundError:
        raise ImportError(f"{needed_by} needs the openai SDK: pip install 'agentsched[openai]'") from None


def http_client() -> Any:
    """A new HTTP client for ``openai.OpenAI`` whose model calls are scheduled inside a run, whoever is given it.

    It is the SDK's default one, closed when it is forgotten.

    Raises:
        ImportError: the SDK is not installed.
    """
    return scheduled(_default_class("OpenAI")())


def async_http_client() -> Any:
    """As `http_client`, for ``openai.AsyncOpenAI``."""
    return scheduled(_default_class("AsyncOpenAI")())


@functools.cache
def _default_class(name: str) -> Any:
    """The SDK's default HTTP client, closed when it is forgotten, as the one that the SDK makes for itself."""
    openai = _sdk("a scheduled HTTP client")
    if name == "OpenAI":

        def close(self: Any, ending: Callable[[], bool] = sys.is_finalizing) -> None:
            # With the interpreter go the modules that closing needs, and the sockets anyway.
            if not (ending() or self.is_closed):
                self.close()

        return type("HttpClient", (openai.DefaultHttpxClient,), {"__del__": close})

    def close_soon(self: Any) -> None:
        if not self.is_closed:
            with suppress(RuntimeError):  # no loop runs any more: its connections went with it
                loop = asyncio.get_running_loop()
                loop.create_task(self.aclose())  # noqa: RUF006  # nobody is left to keep the task

    return type("AsyncHttpClient", (openai.DefaultAsyncHttpxClient,), {"__del__": close_soon})


def scheduled(http_client: Any) -> Any:
    """The same httpx or httpx2 client, whose model calls are from now on scheduled inside a run.

    It gets a ``send`` of its own in front of its class's; once is enough, more does no harm.
    """
    if "send" in vars(http_client):
        return http_client
    for family in loaded_families():
        if isinstance(http_client, family.client):
            vars(http_client)["send"] = _blocking_send(family, http_client)
        elif isinstance(http_client, family.async_client):
            vars(http_client)["send"] = _async_send(family, http_client)
    return http_client


def _blocking_send(family: Family, http_client: Any) -> Any:
    # Weak, for a client that refers to itself would be closed late.
    this, original = weakref.ref(http_client), type(http_client).send

    @functools.wraps(original)
    def send(request: Any, **options: Any) -> Any:
        client = this()
        assert client is not None, "who calls it holds it"
        return sending.send_blocking(family, client, request, type(client).send, options)

    return send


def _async_send(family: Family, http_client: Any) -> Any:
    this, original = weakref.ref(http_client), type(http_client).send

    @functools.wraps(original)
    async def send(request: Any, **options: Any) -> Any:
        client = this()
        assert client is not None, "who calls it holds it"
        return await sending.send(family, client, request, type(client).send, options)

    return send
