"""Requests and tokens per minute, as a hosted API counts them."""

from __future__ import annotations

from math import inf

__all__ = ["RateLimit"]


class _Bucket:
    """Tokens that refill evenly; holds one minute's worth at most."""

    __slots__ = ("at_s", "level", "per_minute")

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self.level = per_minute
        self.at_s = -inf

    def refill(self, now: float) -> None:
        if now > self.at_s:
            if self.at_s > -inf:
                self.level = min(self.per_minute, self.level + (now - self.at_s) * self.per_minute / 60.0)
            self.at_s = now

    def wait_s(self, amount: float) -> float:
        # A demand beyond the bucket's size is let through on a full bucket: it would never fit otherwise.
        missing = min(amount, self.per_minute) - self.level
        return max(0.0, missing * 60.0 / self.per_minute)

    def refilled_in_s(self) -> float:
        return (self.per_minute - self.level) * 60.0 / self.per_minute


class RateLimit:
    """Two token buckets, for requests and for tokens; a refused request takes from neither.

    Args:
        requests_per_minute: None is unlimited.
        tokens_per_minute: None is unlimited.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._requests = _Bucket(requests_per_minute) if requests_per_minute is not None else None
        self._tokens = _Bucket(tokens_per_minute) if tokens_per_minute is not None else None

    def take(self, now: float, tokens: int) -> float:
        """Take one request of so many tokens; returns 0, or the seconds until it would be let through."""
        demands = [
            (bucket, amount) for bucket, amount in ((self._requests, 1.0), (self._tokens, float(tokens))) if bucket
        ]
        for bucket, _ in demands:
            bucket.refill(now)
        wait_s = max((bucket.wait_s(amount) for bucket, amount in demands), default=0.0)
        if wait_s <= 1e-9:
            for bucket, amount in demands:
                bucket.level -= amount
            return 0.0
        return wait_s

    def refund(self, now: float, tokens: int) -> None:
        """Give back tokens that were reserved but not used."""
        if self._tokens is not None and tokens > 0:
            self._tokens.refill(now)
            self._tokens.level = min(self._tokens.per_minute, self._tokens.level + tokens)

    def headers(self, now: float) -> dict[str, str]:
        """Return OpenAI's ``x-ratelimit-*`` headers for the present state."""
        headers: dict[str, str] = {}
        for kind, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            if bucket is not None:
                bucket.refill(now)
                headers[f"x-ratelimit-limit-{kind}"] = str(int(bucket.per_minute))
                headers[f"x-ratelimit-remaining-{kind}"] = str(max(0, int(bucket.level)))
                headers[f"x-ratelimit-reset-{kind}"] = f"{bucket.refilled_in_s():.3f}s"
        return headers
