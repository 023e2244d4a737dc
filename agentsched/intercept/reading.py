"""What a request asks for: is it a model call, and if so, the exchange that dispatch can work with."""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentsched.endpoints.exchange import Exchange
from agentsched.intercept.family import Family

if TYPE_CHECKING:
    import httpx2

__all__ = ["api_of", "model_of", "patience_s", "read_exchange"]

_HEADERS = frozenset(
    {
        b"accept",
        b"content-type",
        b"idempotency-key",
        b"openai-beta",
        b"traceparent",
        b"tracestate",
        b"user-agent",
        b"x-client-request-id",
        b"x-request-id",
    }
)
"""What may go to any host. A list of what is allowed, since nobody can list every header that holds a secret."""

_PROMPTS = {
    "chat/completions": frozenset({"messages"}),
    "completions": frozenset({"prompt"}),
    "responses": frozenset({"input", "prompt", "previous_response_id", "conversation"}),
}
"""A body without any of these is no model call, whatever its path: it goes where the caller sent it."""

_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")


def api_of(request: "httpx2.Request") -> str | None:
    """Which of `agentsched.endpoints.exchange.APIS` the request's method and path name; None: it is no model call."""
    if request.method != "POST":
        return None
    path = request.url.path.rstrip("/")
    if path.endswith("/completions"):
        return "chat/completions" if path.endswith("/chat/completions") else "completions"
    return "responses" if path.endswith("/responses") else None


def read_exchange(request: "httpx2.Request", api: str, family: Family) -> Exchange | None:
    """The request's content, or None where it is left alone: an upload that streams, no JSON, no object, no prompt.

    Nothing is consumed: a body that is not in memory already stays unread.
    """
    try:
        raw = request.content
    except family.not_read:
        return None
    try:
        body = json.loads(raw.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or _PROMPTS[api].isdisjoint(body):
        return None
    return Exchange(api=api, body=body, raw=raw, headers=_passed_on(request), stream=bool(body.get("stream")))


def _passed_on(request: "httpx2.Request") -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.decode("ascii"), value.decode("latin-1"))
        for raw_name, value in request.headers.raw
        if (name := raw_name.lower()) in _HEADERS
    )


def model_of(request: "httpx2.Request", body: Mapping[str, Any]) -> str | None:
    """The requested model: the body's, else the deployment in an Azure path, else None."""
    model = body.get("model")
    if isinstance(model, str) and model:
        return model
    deployment = _DEPLOYMENT.search(request.url.path)
    return deployment.group(1) if deployment else None


def patience_s(request: "httpx2.Request", client: "httpx2.Client | httpx2.AsyncClient") -> float | None:
    """Seconds that the caller waits without progress: its read timeout (600 by the SDK's default); None: for ever."""
    timeouts = request.extensions.get("timeout")
    read = client.timeout.read if timeouts is None else timeouts.get("read")
    return float(read) if isinstance(read, (int, float)) else None
