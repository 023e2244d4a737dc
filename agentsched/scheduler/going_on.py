"""Going on with an answer of which the caller has the beginning: whether, where and how."""

from agentsched.core.call import Failure, FailureKind, Handed, ModelCall, Way
from agentsched.core.endpoint import Endpoint
from agentsched.core.rules import Rules
from agentsched.scheduler.call_state import AttemptState, CallState, Partial

__all__ = ["break_off", "partial_of", "resumable", "still_able", "way_at"]


def resumable(call: ModelCall, rules: Rules) -> bool:
    """Whether another attempt might go on with the call's stream."""
    one_choice = call.api != "responses" and "n" not in call.needs
    return rules.stream.continuation and call.stream and call.repeatable and one_choice


def partial_of(
    state: CallState, attempt: AttemptState, rules: Rules, endpoints: tuple[Endpoint, ...]
) -> Partial | None:
    """What the caller has through this attempt, and who may go on with it; None: nobody can.

    Endpoints with the same model are preferred to all others.
    """
    call = state.call
    if not resumable(call, rules):
        return None
    partial = Partial(
        tokens=attempt.known_tokens + attempt.tokens,
        handed=attempt.handed,
        model=endpoints[attempt.endpoint].model,
        progress_at=attempt.progress_at,
    )
    able = tuple(i for i in state.candidates if way_at(call, partial, endpoints[i]) is not None)
    partial.candidates = tuple(i for i in able if endpoints[i].model == partial.model) or able
    return partial if partial.candidates else None


def way_at(call: ModelCall, partial: Partial, endpoint: Endpoint) -> Way | None:
    """How this endpoint may go on with the answer; None: it cannot without a risk to what the caller has.

    Of an answer in which a tool call has begun, or whose form is prescribed, only a replay can be sure.
    """
    if partial.handed is Handed.NOTHING:
        return Way.REPLAY
    if partial.handed is Handed.TEXT:
        if Way.PREFILL in call.continuable and endpoint.continues_by != "none":
            return Way.PREFILL
        if Way.PROMPT in call.continuable:
            return Way.PROMPT
    replays = Way.REPLAY in call.continuable and partial.replays and endpoint.model == partial.model
    return Way.REPLAY if replays else None


def break_off(state: CallState, attempt: AttemptState, rules: Rules, endpoints: tuple[Endpoint, ...]) -> bool:
    """The answer broke off in the caller's hands: answers whether somebody may go on with it."""
    partial = partial_of(state, attempt, rules, endpoints)
    if partial is None:
        return False
    state.delivered, state.partial, state.candidates = None, partial, partial.candidates
    return True


def still_able(state: CallState, i: int, failure: Failure, endpoints: tuple[Endpoint, ...]) -> bool:
    """An attempt to go on with the answer failed at ``i``: whether anybody is left who may still try."""
    call, partial = state.call, state.partial
    assert partial is not None
    if failure.kind is FailureKind.DIVERGED:
        partial.replays = False
        state.candidates = tuple(k for k in state.candidates if way_at(call, partial, endpoints[k]) is not None)
    elif failure.kind is FailureKind.CLIENT:  # it takes no unfinished message
        state.candidates = tuple(k for k in state.candidates if k != i)
    return bool(state.candidates)
