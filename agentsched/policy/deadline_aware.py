"""The probability that the workflow meets its deadline, minus a toll: agentsched's own rule (decision 6).

A call goes where its run is likeliest to be done in time, less what its load takes from the runs that are served there
already. Greedy rules fill the fastest endpoint until everybody is as slow as on the slowest one; a price for the harm
done to others (A. C. Pigou, 1920) makes "just fast enough" the cheapest choice by itself. The formulas as built, and
what each part is worth, are in docs/decisions/0006-deadline-aware.md.
"""

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from agentsched.core.decision import Choice, EndpointStates, Situation, Stake
from agentsched.core.forecast import QUANTILES, normal_quantiles
from agentsched.core.protocols import Policy
from agentsched.errors import ConfigError
from agentsched.policy.least_outstanding import SpeedWeightedLeastOutstanding
from agentsched.policy.options import flag, number
from agentsched.policy.slopes import odds_against, p_meet, slope_step_s, smoothing_s
from agentsched.policy.space import Between, Space
from agentsched.policy.tolls import latency_toll_s, toll

__all__ = ["DeadlineAware"]

Array = NDArray[np.float64]

_NOISE = 0.15
"""Log-standard-deviation of a latency around its prediction, for a known length."""

_WORST_ERROR_RATE = 0.8
"""Error rates above this count as this: a penalty without a cap would never let an endpoint come back."""

_HOPELESS = 0.01
"""Below this probability everywhere a call is served at best effort. Thresholds of .1 and more fulfil themselves."""

_HASTE_PER_S = 1e-3
"""What a second of a hopeless call is worth: next to nothing, but late work must not starve."""

_NEVER_S = 1e9
"""Stands for a wait without end in sums that must stay finite."""

_HASTE_S = 10.0
"""What ``haste`` is the weight of, seconds."""

_LEAST_SLACK_S = 0.05

_MOST_IN_FULL, _SHORTLIST = 96, 32
"""Of more candidates than the first figure, only so many are looked at in full."""

_SAMPLES = (1, 2, 4, 8, 16, 32)

_USUAL_LEFT_S, _MOST_LEFT = 10.0, 10.0
"""A run that still takes the first, seconds, is worth 1 whatever ``by_length`` is; one that takes more than the second
figure times as long, or as little, counts as if it took just that."""


class DeadlineAware:
    """argmax of 2^priority P_i - toll * toll_i - cost * cost_i / mean cost - latency * min(1, T_i / slack).

    Every option but the weights is the switch of an ablation (``agentsched sim ablate``).

    Args:
        toll: weight of the harm done to others (lambda); flat from .5 to 2; 0 is the selfish rule.
        cost: weight of a call's money over the mean of the candidates'; 0 where all are free.
        latency: weight of the expected time over the slack: settles what the deadline leaves open.
        samples: how many equally likely futures are looked at (1, 2, 4 ... 32); 1: the mean alone.
        remainder: whether what follows the call in its run counts.
        correction: whether a run that answers longer than forecast so far is expected to go on like that.
        joins: whether a call need not be faster than the slowest sibling of its fan-out.
        prefix: whether the prompt tokens that an endpoint still holds count as read.
        pessimism: share by which every pace is taken to be slower than believed.
        queue_toll: weight of the harm done to those who wait for a slot or for a rate limit.
        unhurried_s: seconds that weigh as much as a missed deadline where no deadline is given.
        haste: weight of ten seconds of the call and of those that it delays, in missed deadlines: fewer seconds at the
            95th percentile, for some deadlines.
        by_length: a run is worth the time that it still takes to this power; 0: all are worth the same. Long runs then
            meet more of their deadlines, and short ones fewer.
        fallback: whether calls go by speed-weighted least outstanding while the forecasts do not hold.
        quality: for groups that span models: an answer in time is worth 1 + quality * Q, with the declared quality Q of
            the endpoint; 0: ``min_quality`` alone counts.

    Raises:
        ConfigError: an option is out of range.
    """

    name = "deadline_aware"
    fallback: Policy | None
    space: ClassVar[Space] = {
        "toll": Between(0.25, 4.0, log=True),
        "cost": Between(0.001, 0.05, log=True),
        "latency": Between(0.01, 0.2, log=True),
        "queue_toll": Between(0.25, 4.0, log=True),
    }

    def __init__(
        self,
        toll: float = 1.0,
        cost: float = 0.005,
        latency: float = 0.15,
        samples: int = 32,
        remainder: bool = True,
        correction: bool = False,
        joins: bool = True,
        prefix: bool = True,
        pessimism: float = 0.0,
        queue_toll: float = 1.0,
        unhurried_s: float = 10.0,
        quality: float = 0.0,
        haste: float = 0.0,
        by_length: float = 0.0,
        fallback: bool = True,
    ) -> None:
        self.fallback = SpeedWeightedLeastOutstanding() if flag("fallback", fallback) else None
        self._toll, self._queue_toll = number("toll", toll, 0.0, 1e6), number("queue_toll", queue_toll, 0.0, 1e6)
        self._cost, self._latency = number("cost", cost, 0.0, 1e6), number("latency", latency, 0.0, 1e6)
        self._pessimism = number("pessimism", pessimism, -0.9, 100.0)
        self._unhurried_s = number("unhurried_s", unhurried_s, 0.1, 1e6)
        self._quality, self._haste = number("quality", quality, 0.0, 1e6), number("haste", haste, 0.0, 1e6)
        self._by_length = number("by_length", by_length, 0.0, 2.0)
        self._remainder, self._correction = flag("remainder", remainder), flag("correction", correction)
        self._joins, self._prefix = flag("joins", joins), flag("prefix", prefix)
        if isinstance(samples, bool) or samples not in _SAMPLES:
            raise ConfigError(
                "out of range", field="policy.samples", given=samples, allowed=", ".join(map(str, _SAMPLES))
            )
        self._samples = int(samples)
        # One fixed permutation for the noise, another one for what follows: with the ascending lengths they add up as
        # independent quantities do. All sorted would be the comonotone sum, whose tail is too heavy.
        order = np.arange(self._samples)
        normal = normal_quantiles(self._samples) if self._samples > 1 else np.zeros(1)
        self._noise: Array = np.exp(_NOISE * normal[np.argsort((order * 19 + 7) % QUANTILES, kind="stable")])
        self._mixed = np.argsort((order * 13 + 3) % QUANTILES, kind="stable")

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        states, tokens = situation.states, situation.output_tokens
        pace = situation.tpot_s
        if self._pessimism:
            pace = pace * (1.0 + self._pessimism)
        reading_s = situation.uncached_tokens / states.prefill_tokens_per_s
        first_s = np.minimum(situation.ttft_s, _NEVER_S)
        if not self._prefix:
            reread_s = situation.cached_tokens / states.prefill_tokens_per_s
            reading_s, first_s = reading_s + reread_s, first_s + reread_s
        mean_tokens = tokens.mean
        expected_s = first_s + max(0.0, mean_tokens - 1.0) * pace
        fee = toll(states, reading_s, expected_s, situation.call.input_tokens, mean_tokens, self._queue_toll)
        fee *= self._toll
        slack = situation.slack_s
        if slack is None:
            return self._unhurried(situation, expected_s, reading_s, fee)
        if self._haste:
            spent_s = expected_s + latency_toll_s(states, reading_s, mean_tokens)
            fee += spent_s * (self._haste / _HASTE_S)
        return self._in_time(situation, pace, first_s, expected_s, fee, slack)

    def _in_time(
        self, situation: Situation, pace: Array, first_s: Array, expected_s: Array, fee: Array, slack: float
    ) -> Choice:
        states = situation.states
        worth = 2.0**situation.call.priority
        if self._by_length:
            worth *= self._worth_of_length(situation, expected_s)
        value = np.minimum(states.error_rate, _WORST_ERROR_RATE)
        value *= -worth
        value += worth
        if self._quality:
            value *= self._value(states)
        price = expected_s * (1.0 / max(slack, _LEAST_SLACK_S))
        np.minimum(price, 1.0, out=price)
        price *= self._latency
        price += fee
        self._charge(situation, price)
        lengths, rest = self._lengths(situation), self._rest_s(situation)
        width = smoothing_s(slack)
        shortlist = None
        if pace.size > _MOST_IN_FULL:
            likely = _rough_chance(expected_s, pace, lengths, rest, slack, width) * value - price
            shortlist = np.argpartition(likely, -_SHORTLIST)[-_SHORTLIST:]
            pace, first_s, expected_s, fee = pace[shortlist], first_s[shortlist], expected_s[shortlist], fee[shortlist]
            value, price = value[shortlist], price[shortlist]
        odds = odds_against(self._finish_s(situation, pace, first_s, lengths, rest), slack, width)
        chance = p_meet(odds)
        if chance.item(chance.argmax()) < _HOPELESS:
            scores = -fee - _HASTE_PER_S * expected_s
        else:
            scores = chance * value
            scores -= price
        best = _best(states.ready_in_s if shortlist is None else states.ready_in_s[shortlist], scores)
        step = slope_step_s(slack)
        late = p_meet(odds[best] * math.exp(min(60.0, step / width)))
        stake = Stake(
            per_s=worth * max(0.0, float(chance[best] - late)) / step,
            output_tokens=situation.output_tokens.mean,
            length_tokens=lengths,
            rest_s=rest,
            weight=worth,
            due_at=situation.now + slack,
            until_at=situation.now + situation.siblings_s if situation.siblings_s > 0.0 else -np.inf,
        )
        if shortlist is None:
            return Choice(best, scores, stake)
        everywhere = np.full(len(situation.names), -np.inf)
        everywhere[shortlist] = scores
        return Choice(int(shortlist[best]), everywhere, stake)

    def _worth_of_length(self, situation: Situation, expected_s: Array) -> float:
        """What the run is worth by the time that it still takes, this call at its fastest, relative to the usual."""
        rest = situation.rest_s
        left_s = float(expected_s.min()) + (0.0 if rest is None else float(rest.sum()) / rest.size)
        usual: float = min(_MOST_LEFT, max(1.0 / _MOST_LEFT, left_s / _USUAL_LEFT_S)) ** self._by_length
        return usual

    def _finish_s(self, situation: Situation, pace: Array, first_s: Array, lengths: Array, rest: Array) -> Array:
        """X_ik: seconds until the run ends if the call goes to i and future k comes, shape (n, k)."""
        finish: Array = np.multiply.outer(pace, np.maximum(lengths - 1.0, 0.0))
        finish += first_s[:, None]
        finish *= self._noise
        if self._joins and situation.siblings_s > 0.0:
            np.maximum(finish, situation.siblings_s, out=finish)
        finish += rest
        return finish

    def _unhurried(self, situation: Situation, expected_s: Array, reading_s: Array, fee: Array) -> Choice:
        """No deadline: the shortest time, the time that it costs others included."""
        states, call = situation.states, situation.call
        cost = expected_s / (1.0 - np.minimum(states.error_rate, _WORST_ERROR_RATE))
        cost += latency_toll_s(states, reading_s, situation.output_tokens.mean)
        cost += self._unhurried_s * fee
        scores = cost * (-1.0 / self._unhurried_s)
        if self._quality:
            scores += self._value(states)
        price = np.zeros(scores.size)
        self._charge(situation, price)
        scores -= price
        index = _best(states.ready_in_s, scores)
        worth = 2.0**call.priority
        per_s = 0.1 * worth / self._unhurried_s  # small against that of a call with a deadline, but never nothing
        lengths, rest = self._lengths(situation), np.zeros(self._samples)
        stake = Stake(per_s, situation.output_tokens.mean, lengths, rest, worth, None, -np.inf)
        return Choice(index, scores, stake)

    def _charge(self, situation: Situation, price: Array) -> None:
        """Add what the call's money weighs."""
        states = situation.states
        priced = np.count_nonzero(states.price_output_usd) or np.count_nonzero(states.price_input_usd)
        if not self._cost or not priced:
            return
        money = states.price_input_usd * situation.call.input_tokens
        money += states.price_output_usd * situation.output_tokens.mean
        mean = float(np.add.reduce(money)) / money.size
        if mean > 0.0:
            price += money * (self._cost / mean)

    def _value(self, states: EndpointStates) -> Array:
        """What an answer in time is worth at each endpoint, relative to one of the best quality at hand: up to 1."""
        value = 1.0 + self._quality * states.quality
        value /= value.max()
        return value

    def _lengths(self, situation: Situation) -> Array:
        values, count = situation.output_tokens.values, self._samples
        return values if count == QUANTILES else values.reshape(count, -1).mean(axis=1)

    def _rest_s(self, situation: Situation) -> Array:
        """What follows the call, seconds, one value per future."""
        rest, remainder = situation.rest_s, situation.remainder
        if rest is None or not self._remainder:
            return np.zeros(self._samples)
        if self._correction and remainder is not None:
            pace = float(situation.states.tpot_alone_s[situation.states.ready_in_s < np.inf].min(initial=_NEVER_S))
            rest = rest + remainder.output_tokens * ((situation.correction - 1.0) * pace)
        if self._samples == QUANTILES:
            return rest
        shrunk: Array = np.sort(rest).reshape(self._samples, -1).mean(axis=1)[self._mixed]
        return shrunk


def _rough_chance(expected_s: Array, pace: Array, lengths: Array, rest: Array, slack: float, width: float) -> Array:
    """About P_i, from the mean and the spread of the finish alone: good enough to tell who need not be looked at."""
    spread = pace * (0.55 * float(lengths.std()))  # a logistic distribution's scale is .55 of its standard deviation
    spread += width
    late = expected_s + (float(rest.sum()) / rest.size - slack)
    late /= spread
    odds: Array = np.exp(np.minimum(late, 60.0))
    odds += 1.0
    return 1.0 / odds


def _best(ready_in_s: Array, scores: Array) -> int:
    """The best of those that will ever be ready; the scores of the others become -inf."""
    never = ready_in_s == np.inf
    if 0 < np.count_nonzero(never) < never.size:
        scores[never] = -np.inf
    return int(scores.argmax())
