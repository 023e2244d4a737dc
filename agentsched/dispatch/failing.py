"""The error a caller gets for a call that has no answer."""

from agentsched.core.call import FailureKind, ModelCall
from agentsched.errors import (
    AgentschedError,
    CallTimedOut,
    CostExceeded,
    DeadlineExceeded,
    EndpointsSaturated,
    EndpointsUnavailable,
    NoCapableEndpoint,
    StreamBroken,
)
from agentsched.scheduler.actions import Fail

__all__ = ["error_for"]


def error_for(call: ModelCall, fail: Fail) -> AgentschedError:
    """The error for ``fail``; a fresh object, without cause or context."""
    kind, detail = fail.failure.kind, fail.failure.detail
    if kind is FailureKind.DEADLINE:
        return DeadlineExceeded(run_id=call.run_id, workflow=call.workflow, step=call.step)
    if kind is FailureKind.PATIENCE:
        return CallTimedOut(detail, attempts=fail.attempts)
    if kind is FailureKind.INCAPABLE:
        return NoCapableEndpoint(detail)
    if kind is FailureKind.COST:
        return CostExceeded(f"the run's money does not suffice for this call: {detail}")
    if fail.delivered:
        return StreamBroken(f"the answer broke off: {detail}", attempts=fail.attempts)
    if fail.saturated:
        return EndpointsSaturated("every endpoint that may serve the call is at its limit for longer than it can wait")
    return EndpointsUnavailable("no endpoint could answer the call", attempts=fail.attempts)
