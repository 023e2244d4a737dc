"""The error a caller gets for a call that has no answer."""

import asyncio

from agentsched.core.call import FailureKind, ModelCall
from agentsched.core.optional import step_of_visit
from agentsched.errors import (
    AgentschedError,
    CallTimedOut,
    CostExceeded,
    DeadlineExceeded,
    EndpointsSaturated,
    EndpointsUnavailable,
    NoCapableEndpoint,
    StepSkipped,
    StreamBroken,
)
from agentsched.scheduler.actions import Fail

__all__ = ["error_for"]


def error_for(call: ModelCall, fail: Fail) -> AgentschedError | asyncio.CancelledError:
    """The error for ``fail``; a fresh object, without cause or context.

    A cancelled call raises what cancels a task, in threads too: frameworks repeat what is an ``Exception``.
    """
    kind, detail = fail.failure.kind, fail.failure.detail
    if kind is FailureKind.CANCELLED:
        return asyncio.CancelledError(detail)
    if kind is FailureKind.DEADLINE or kind is FailureKind.SHED:
        given_up = detail if kind is FailureKind.SHED else ""
        return DeadlineExceeded(run_id=call.run_id, workflow=call.workflow, step=call.step, given_up=given_up)
    if kind is FailureKind.SKIPPED:
        return StepSkipped(step_of_visit(fail.skipped), detail, fail.skipped)
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
