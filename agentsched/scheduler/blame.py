"""What a failed attempt says about its endpoint."""

from agentsched.core.call import Failure, FailureKind
from agentsched.scheduler.endpoint_table import EndpointTable

__all__ = ["blame"]

_FAULTS = frozenset(
    {
        FailureKind.CONNECT,
        FailureKind.RESET,
        FailureKind.SILENT,
        FailureKind.STALLED,
        FailureKind.MALFORMED,
        FailureKind.IN_BAND,
        FailureKind.SERVER,
    }
)
"""Failures that speak against the endpoint, not against the call."""


def blame(table: EndpointTable, i: int, failure: Failure, now: float) -> str | None:
    """Book a failure where it speaks against endpoint ``i``; answers what an operator should know, or None."""
    if failure.kind is FailureKind.RATE_LIMITED:
        table.gates.limited(i, failure.retry_after_s, now)
    if failure.kind not in _FAULTS:
        return None
    if failure.retry_after_s is not None:
        table.gates.rest(i, failure.retry_after_s, now)
    if not table.gates.failed(i, now):
        return None
    return f"is left alone for {table.gates.open_until[i] - now:.1f} s ({failure})"
