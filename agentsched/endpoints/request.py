"""The HTTP request of one attempt: the endpoint's address, its credentials, its model name, and nobody else's."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from agentsched.core.endpoint import Endpoint
from agentsched.endpoints.exchange import Exchange

__all__ = ["Address", "WireRequest", "encoded", "with_fields"]

_KEY = b'"model"'
_MODEL = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True, slots=True)
class WireRequest:
    """What is sent."""

    url: str
    headers: dict[str, str]
    body: bytes


class Address:
    """Everything about requests to one endpoint that does not change between them."""

    __slots__ = ("_headers", "_model", "_query", "_root", "endpoint")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        azure = endpoint.kind == "azure"
        base = endpoint.base_url.rstrip("/")
        self._root = _azure_root(base, endpoint.model) if azure else base
        self._query = f"?api-version={quote(endpoint.api_version)}" if endpoint.api_version else ""
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        if endpoint.api_key:
            name, value = ("api-key", endpoint.api_key) if azure else ("authorization", f"Bearer {endpoint.api_key}")
            self._headers[name] = value
        self._model = b'"model":' + json.dumps(endpoint.model).encode()

    def request(self, exchange: Exchange, attempt_id: str) -> WireRequest:
        """The request that asks this endpoint for what the caller asked."""
        headers = dict(exchange.headers)
        headers.update(self._headers)
        headers.setdefault("x-request-id", attempt_id)
        if exchange.stream:
            headers["accept"] = "text/event-stream"
        return WireRequest(f"{self._root}/{exchange.api}{self._query}", headers, self._body(exchange))

    def _body(self, exchange: Exchange) -> bytes:
        raw, asked = exchange.raw, exchange.body.get("model")
        if asked == self.endpoint.model:
            return raw
        at = raw.find(_KEY)
        found = _MODEL.match(raw, at) if at >= 0 and raw.find(_KEY, at + 1) < 0 else None
        if found is not None and json.loads(found[1]) == asked:
            return raw[:at] + self._model + raw[found.end() :]
        return encoded({**exchange.body, "model": self.endpoint.model})


def _azure_root(base: str, deployment: str) -> str:
    """A resource's address leads to a deployment; one that names a deployment or the v1 API is complete."""
    if "/deployments/" in base or base.endswith("/openai/v1"):
        return base
    return f"{base.removesuffix('/openai')}/openai/deployments/{quote(deployment, safe='')}"


def encoded(body: Mapping[str, Any]) -> bytes:
    """A JSON object as the bytes to be sent, as short as it can be said."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can say and UTF-8 cannot
        return json.dumps(body, separators=(",", ":")).encode()


def with_fields(exchange: Exchange, more: Mapping[str, Any]) -> Exchange:
    """The same request with these fields; its bytes are added to where they can be, without a look at them: prompts are
    long."""
    if not more:
        return exchange
    body, raw = {**exchange.body, **more}, exchange.raw.strip()
    added = len(body) == len(exchange.body) + len(more) and len(exchange.body) > 0
    added = added and raw.startswith(b"{") and raw.endswith(b"}")  # neither is so of UTF-16, which may come too
    return replace(exchange, body=body, raw=raw[:-1] + b"," + encoded(more)[1:] if added else encoded(body))
