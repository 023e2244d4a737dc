"""Refusals in the shape in which OpenAI-compatible servers give them."""

from __future__ import annotations

import json
from collections.abc import Mapping

__all__ = ["ApiError", "bad_request"]


class ApiError(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP status.
        message: what to tell the caller.
        kind: OpenAI's ``type``.
        param: the offending field, if any.
        code: OpenAI's ``code``, if any.
        headers: further response headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """Return the response's JSON."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode()


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """Return a 400."""
    return ApiError(400, message, param=param, code=code)
