"""What a policy sees of the endpoints, and what it answers."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall
from agentsched.core.forecast import QuantileForecast
from agentsched.core.remainder import RemainderForecast
from agentsched.core.value import value

__all__ = ["Choice", "Decision", "EndpointStates", "Situation", "Stake"]

Array = NDArray[np.float64]


@value(eq=False)
class EndpointStates:
    """What this client knows of some endpoints, a struct of arrays: element i of each is one endpoint. Read only.

    Attributes (all float64, shape (n,)):
        in_flight: own calls running there.
        prefill_tokens: own prompt tokens sent there that still await a first token.
        tpot_s: believed time per output token as of the last look, seconds (prior where nothing was seen).
        tpot_in_flight: how many calls ran there when ``tpot_s`` was seen, with what was known of other clients.
        seen_age_s: seconds since a token was last seen there (inf: never).
        excess_ttft_s: believed TTFT beyond what the profile explains, seconds, decayed to now.
        tpot_alone_s, tpot_per_batch_s: profile: a and b of a + b * batch, seconds.
        prefill_tokens_per_s: profile.
        ttft_idle_s: profile: time to first token of a short prompt on an idle endpoint, seconds.
        ready_in_s: expected wait before a call may be sent there (slot, rate limit, breaker), 0: at once, inf: never.
        price_input_usd, price_output_usd: USD per token.
        quality: as declared, or as forecast from users' scores.
        error_rate: recent share of failed attempts, in [0, 1]; fades while none fails.
        stake_per_s: what the calls running there, own and others', lose per second of delay, in expected goodput (g).
        stake_mean_per_s: the same, averaged over about 20 s (ge).
        stake_tokens: output tokens they still await, averaged with their stakes as weights (rbar).
        queue_stake_per_s: what the calls that wait for a place there lose per second, now or averaged over about 20 s,
            whichever is more; with what is known of other clients.
        slots: most own calls at a time (inf: no limit).
        request_s, token_s: seconds in which a rate limit grants one request, one token (0: no limit).
        in_flight_all, prefill_tokens_all: ``in_flight`` and ``prefill_tokens`` with what is known of other clients.
    """

    in_flight: Array
    prefill_tokens: Array
    tpot_s: Array
    tpot_in_flight: Array
    seen_age_s: Array
    excess_ttft_s: Array
    tpot_alone_s: Array
    tpot_per_batch_s: Array
    prefill_tokens_per_s: Array
    ttft_idle_s: Array
    ready_in_s: Array
    price_input_usd: Array
    price_output_usd: Array
    quality: Array
    error_rate: Array
    stake_per_s: Array
    stake_mean_per_s: Array
    stake_tokens: Array
    queue_stake_per_s: Array
    slots: Array
    request_s: Array
    token_s: Array
    in_flight_all: Array
    prefill_tokens_all: Array


@dataclass(slots=True, eq=False)  # no `value`: it keeps what it has worked out
class Situation:
    """Everything a policy may look at when it places one call. Read only.

    Attributes:
        call: the call.
        names: the candidates' names, in the order of the arrays.
        states: the candidates' states.
        cached_tokens: shape (n,), prompt tokens expected in each candidate's prefix cache.
        ttft_s: shape (n,), predicted time to first token if the call joins, seconds, waiting included.
        tpot_s: shape (n,), predicted time per output token if the call joins, seconds.
        output_tokens: forecast of the output length, capped by the call's ``max_tokens``.
        remainder: forecast of the work that follows this call in its run; None: unknown.
        rest_s: shape (QUANTILES,), the same in seconds at the pace of the fastest usable endpoint; None: unknown.
        now: the instant of the decision.
        correction: by what factor answers of this run have been longer than forecast so far, shrunk toward 1.
        siblings_s: seconds until the slowest call of the same fan-out that has its place should be done; 0: none.
    """

    call: ModelCall
    names: tuple[str, ...]
    states: EndpointStates
    cached_tokens: Array
    ttft_s: Array
    tpot_s: Array
    output_tokens: QuantileForecast
    remainder: RemainderForecast | None
    rest_s: Array | None
    now: float
    correction: float = 1.0
    siblings_s: float = 0.0
    _uncached: Array | None = field(default=None, init=False, repr=False)

    @property
    def slack_s(self) -> float | None:
        """Seconds until the call's run should be done, or the call itself if that is sooner; None: nobody said."""
        call = self.call
        due_at = call.deadline_at if call.due_at is None else call.due_at
        return None if due_at is None else due_at - self.now

    @property
    def uncached_tokens(self) -> Array:
        """Shape (n,): prompt tokens each candidate would have to read."""
        uncached = self._uncached
        if uncached is None:
            uncached = self._uncached = np.maximum(0.0, self.call.input_tokens - self.cached_tokens)
        return uncached


@value(eq=False)
class Stake:
    """What a call has to lose by delay where it runs, in expected goodput: what newcomers are charged for.

    Attributes:
        per_s: its loss per second of delay when it was placed.
        output_tokens: its expected output length.
        length_tokens: shape (k,), equally likely output lengths.
        rest_s: shape (k,), seconds that follow it in its run, aligned with the lengths but independent of them.
        weight: what its run is worth, 1 where all are worth the same.
        due_at: when its run should be done; None: it loses ``per_s`` for as long as it runs.
        until_at: its run goes on no sooner than this, as a sibling in the same fan-out is slower; -inf: it has none.
    """

    per_s: float
    output_tokens: float
    length_tokens: Array
    rest_s: Array
    weight: float
    due_at: float | None
    until_at: float


@value(eq=False)
class Choice:
    """A policy's answer.

    Attributes:
        index: which candidate.
        scores: shape (n,), higher is better; what the choice was made by.
        stake: what the call loses by delay; None: the policy charges nobody for it.
    """

    index: int
    scores: Array
    stake: Stake | None = None


@value()
class Decision:
    """Where a call was sent and why: what logs and ``run.decisions`` hold.

    Attributes:
        why: ``first``, ``retry``, ``left`` (a silent or slow endpoint was left), ``migrate`` (goes on with an answer
            that broke off), ``degrade`` (either, at an endpoint of lower quality), ``hedge`` or ``queued`` (a wait
            ended).
        policy: the policy's name.
        p_meet: probability of meeting the deadline, remainder included, at the time of the decision.
        ttft_s, e2e_s, e2e_p95_s: predicted seconds at the chosen endpoint (median, median, 95th percentile).
        output_tokens: predicted median output length.
        rivals: the other candidates as (name, score), best first.
        p_stay, p_switch: probability of an answer in time from the attempt that it replaces or runs beside, and from
            this one, as they were compared; None: nothing was compared.
    """

    call_id: str
    run_id: str
    attempt_id: str
    step: str
    at: float
    endpoint: str
    why: str
    policy: str
    slack_s: float | None
    p_meet: float | None
    ttft_s: float
    e2e_s: float
    e2e_p95_s: float
    output_tokens: float
    score: float
    waited_s: float
    rivals: tuple[tuple[str, float], ...]
    p_stay: float | None = None
    p_switch: float | None = None

    @property
    def reason(self) -> str:
        """One sentence for people."""
        odds = "no deadline" if self.p_meet is None else f"P(meet) {self.p_meet:.2f}"
        text = f"{self.why}: {self.endpoint} by {self.policy}, expects {self.e2e_s:.2f} s ({odds})"
        if self.p_stay is not None and self.p_switch is not None:
            text += f"; in time {self.p_switch:.2f} instead of {self.p_stay:.2f}"
        if self.rivals:
            name, score = self.rivals[0]
            text += f"; next best {name} ({score - self.score:+.3g})"
        return text
