"""Going on with an answer whose attempt is gone: whether, where and how.

Of a stream the caller has the beginning already. Of a whole answer that was asked for as a stream nobody has anything
yet: what there is of it is a *draft*, which spares another attempt the work where it can go on from it, and which is
thrown away where it cannot.
"""

from agentsched.core.call import Failure, FailureKind, Handed, ModelCall, Way
from agentsched.core.endpoint import Endpoint
from agentsched.core.rules import Rules
from agentsched.scheduler.call_state import AttemptState, CallState, Partial

__all__ = [
    "beginning",
    "break_off",
    "draft_of",
    "draft_way_at",
    "keep_draft",
    "partial_of",
    "refused_draft",
    "resumable",
    "so_far",
    "still_able",
    "way_at",
]

_PLAIN = frozenset({Handed.TEXT, Handed.TOKENS})
_NO_DRAFT_TAKEN = frozenset(
    {FailureKind.CLIENT, FailureKind.UNSTREAMED, FailureKind.MALFORMED, FailureKind.IN_BAND, FailureKind.DIVERGED}
)
"""How servers answer that take no unfinished message."""


def resumable(call: ModelCall, rules: Rules) -> bool:
    """Whether another attempt might go on with the call's stream, or with a whole answer that comes as one."""
    if not rules.stream.continuation or not call.repeatable or "n" in call.needs:
        return False
    if call.api == "responses":
        return call.stream and Way.REPLAY in call.continuable
    return call.stream or call.upgradable


def partial_of(
    state: CallState, attempt: AttemptState, rules: Rules, endpoints: tuple[Endpoint, ...]
) -> Partial | None:
    """What the caller has through this attempt, and who may go on with it; None: nobody can.

    Endpoints with the same model are preferred to all others.
    """
    call = state.call
    if not resumable(call, rules):
        return None
    partial = so_far(attempt, endpoints)
    able = tuple(i for i in state.candidates if way_at(call, partial, endpoints[i]) is not None)
    partial.candidates = tuple(i for i in able if endpoints[i].model == partial.model) or able
    return partial if partial.candidates else None


def so_far(attempt: AttemptState, endpoints: tuple[Endpoint, ...]) -> Partial:
    """What the attempt has written, together with what it went on from."""
    return Partial(
        attempt_id=attempt.attempt_id,
        tokens=attempt.known_tokens + attempt.tokens,
        handed=attempt.handed,
        model=endpoints[attempt.endpoint].model,
        progress_at=attempt.progress_at,
    )


def way_at(call: ModelCall, partial: Partial, endpoint: Endpoint) -> Way | None:
    """How this endpoint may go on with the answer; None: it cannot without a risk to what the caller has.

    Of an answer in which a tool call has begun, or whose form is prescribed, only a replay can be sure.
    """
    if partial.handed is Handed.NOTHING:
        return Way.REPLAY
    by_ids = partial.handed is Handed.TOKENS and Way.TOKENS in call.continuable
    if by_ids and endpoint.takes_token_ids and endpoint.model == partial.model:
        return Way.TOKENS
    if partial.handed in _PLAIN:
        if Way.PREFILL in call.continuable and endpoint.continues_by != "none":
            return Way.PREFILL
        if Way.PROMPT in call.continuable:
            return Way.PROMPT
    replays = Way.REPLAY in call.continuable and partial.replays and endpoint.model == partial.model
    return Way.REPLAY if replays else None


def beginning(state: CallState, endpoint: Endpoint, *, streams: bool) -> tuple[Partial | None, Way | None]:
    """What an attempt at this endpoint goes on with, and how; None: it begins anew."""
    if state.partial is not None:
        return state.partial, way_at(state.call, state.partial, endpoint)
    if state.draft is None or not streams:
        return None, None
    way = draft_way_at(state.call, state.draft, endpoint)
    return (None, None) if way is None else (state.draft, way)


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


# -- whole answers ---------------------------------------------------------------------------------------------------


def draft_of(state: CallState, attempt: AttemptState, rules: Rules, endpoints: tuple[Endpoint, ...]) -> Partial | None:
    """What this attempt has written of a whole answer, if anybody could go on with it; None: nobody can."""
    if state.call.stream or attempt.handed not in _PLAIN or not resumable(state.call, rules):
        return None
    return so_far(attempt, endpoints)


def draft_way_at(call: ModelCall, draft: Partial, endpoint: Endpoint) -> Way | None:
    """How this endpoint may go on with the draft; None: it begins anew.

    As nobody has anything of the answer, there is no reason to have two models write it, nor to write any of it twice.
    """
    way = way_at(call, draft, endpoint)
    return way if way is not Way.REPLAY and endpoint.model == draft.model else None


def keep_draft(state: CallState, attempt: AttemptState, rules: Rules, endpoints: tuple[Endpoint, ...]) -> None:
    """Keep what this attempt has written of a whole answer, if no earlier one came further."""
    draft = draft_of(state, attempt, rules, endpoints)
    if draft is not None and (state.draft is None or draft.tokens > state.draft.tokens):
        state.draft = draft


def refused_draft(state: CallState, attempt: AttemptState, failure: Failure) -> bool:
    """Whether the attempt failed because of the draft that it should go on with: then the call begins anew."""
    goes_on = attempt.way is not None and attempt.handed is Handed.NOTHING and state.draft is not None
    refused = goes_on and failure.kind in _NO_DRAFT_TAKEN
    if refused:
        state.draft = None
    return refused
