"""The HTTP request of one attempt: the endpoint's address, its credentials, its model name, and nobody else's."""

import json
import re
from dataclasses import dataclass

from agentsched.core.endpoint import Endpoint
from agentsched.endpoints.exchange import Exchange

__all__ = ["Address", "WireRequest"]

_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')


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
        self._root = f"{base}/openai/deployments/{endpoint.model}" if azure and "/deployments/" not in base else base
        self._query = f"?api-version={endpoint.api_version}" if endpoint.api_version else ""
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        if endpoint.api_key is not None:
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
        if exchange.body.get("model") == self.endpoint.model:
            return exchange.raw
        if exchange.raw.count(b'"model"') == 1:
            replaced, count = _MODEL.subn(lambda _: self._model, exchange.raw, count=1)
            if count == 1:
                return replaced
        body = {**exchange.body, "model": self.endpoint.model}
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
