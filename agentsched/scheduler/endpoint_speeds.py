"""How fast each endpoint is, as its answers show: paces, times to first token, and how far to trust either."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agentsched.core.endpoint import Endpoint, Profile
from agentsched.forecast.endpoint_latency import LatencyFactors, aged
from agentsched.forecast.latency import KNOWN_SPREAD
from agentsched.scheduler.cold_start import mean_profile, peers, untold
from agentsched.scheduler.endpoint_rows import EndpointRows, figures
from agentsched.scheduler.others import Others

__all__ = ["EndpointSpeeds"]

Array = NDArray[np.float64]

_TPOT_TAU_S = 1.0
"""Time constant of the token-pace average, seconds (decision 6)."""

_EXCESS_DECAY_S = 5.0
"""How fast an observed excess of TTFT over its prediction is forgotten, seconds."""

_EXCESS_DECAY_ARRAY_S = np.array(_EXCESS_DECAY_S)  # without dimensions: numpy makes one of every scalar

_SLOW_COUNT = 40.0
"""Answers over which the slow corrections of a profile (pace, idle TTFT) average; the profile itself counts as one."""

_ANSWER_COUNT = 10.0
"""Answers over which their usual length averages."""

_MISFIT_COUNT = 16.0
"""Answers over which the misfit of predictions averages."""

_MOST_MISFIT = 2.0
"""Log-factors beyond this count as this: one stall says little about the next call."""

_SPEED_HALF_LIFE_S = 21_600.0
"""What was learned of a speed and is not confirmed fades toward the profile with this half-life, seconds."""

_AGE_EVERY_S = 60.0

_LEAST_RATIO, _MOST_RATIO = 0.02, 50.0
"""Paces further off what a profile says count as this multiple of it."""


class EndpointSpeeds:
    """Learns the speeds among a pool's rows.

    Args:
        endpoints: the pool, whose profiles are what is believed at first.
        rows: its rows.
        others: what other clients have there, who slow own calls down as well.
    """

    def __init__(self, endpoints: Sequence[Endpoint], rows: EndpointRows, others: Others) -> None:
        self._endpoints, self._rows, self._others = endpoints, rows, others
        self._in_flight, self._seen_at = figures(rows.in_flight), figures(rows.seen_at)
        self._tpot_s, self._tpot_in_flight = figures(rows.tpot_s), figures(rows.tpot_in_flight)
        self._excess_s, self._excess_at = figures(rows.excess_ttft_s), figures(rows.excess_at)
        self._ttft_idle_s = figures(rows.ttft_idle_s)
        self._tpot_alone_s, self._tpot_per_batch_s = figures(rows.tpot_alone_s), figures(rows.tpot_per_batch_s)
        count, profiles = len(endpoints), [endpoint.profile for endpoint in endpoints]
        self._prior_alone_s = [p.tpot_s for p in profiles]
        self._prior_per_batch_s = [p.tpot_per_batch_s for p in profiles]
        self._prior_ttft_s = [max(1e-3, p.ttft_s) for p in profiles]
        self.pace_scale, self.pace_count, self.ttft_count = [1.0] * count, [1.0] * count, [1.0] * count
        self._answer_tokens = [1.0] * count  # at first every report counts as an answer: a wrong profile is soon mended
        self.heard, self.misfit = [0] * count, [KNOWN_SPREAD**2] * count
        self.pace_seen_at = [-math.inf] * count
        self._factors = [LatencyFactors() for _ in endpoints]
        self._age_at = -math.inf
        self._strangers = untold(endpoints)
        self._take_strangers_for_others()

    # -- what is believed ----------------------------------------------------------------------------------------------

    def excess_s(self, i: int, now: float) -> float:
        """What first tokens there take beyond what the profile explains, seconds, as last seen and decayed to now."""
        return self._excess_s[i] * math.exp((self._excess_at[i] - now) / _EXCESS_DECAY_S)

    def spread(self, i: int) -> float:
        """Log-standard-deviation of latencies around their predictions at row ``i``, for known lengths."""
        return math.sqrt(self.misfit[i])

    def factors(self, i: int) -> Array:
        """Quantiles of actual over predicted times at row ``i``, for known lengths, ascending, shape (QUANTILES,)."""
        return self._factors[i].quantiles()

    @staticmethod
    def decay(excess_s: Array, excess_at: Array, now: Array | float) -> None:
        """Turn excesses as last seen into what `excess_s` is now; ``excess_at`` is overwritten, too."""
        excess_at -= now
        excess_at /= _EXCESS_DECAY_ARRAY_S
        excess_s *= np.exp(excess_at, out=excess_at)

    # -- what is seen --------------------------------------------------------------------------------------------------

    def saw_first_token(self, i: int, ttft_s: float, unloaded_s: float, crowd: float, now: float) -> None:
        """TTFT seen: the excess over ``unloaded_s`` (idle base + own prefill) is load; without a crowd it is base."""
        self.heard[i] += 1
        excess = ttft_s - unloaded_s
        self._excess_s[i] = max(0.0, 0.5 * self.excess_s(i, now) + 0.5 * excess)
        self._excess_at[i] = self._seen_at[i] = now
        if crowd <= 2.0:
            self.ttft_count[i] = min(self.ttft_count[i] + 1.0, _SLOW_COUNT)
            self._ttft_idle_s[i] = max(1e-3, self._ttft_idle_s[i] + excess / self.ttft_count[i])

    def saw_pace(self, i: int, tokens: float, seconds: float, now: float) -> None:
        """``tokens`` came in ``seconds`` on one stream: the pace of everybody there, averaged over about a second."""
        if tokens <= 0.0 or seconds <= 0.0:
            return
        others = self._others
        pace, own = seconds / tokens, self._in_flight[i]
        if own < 1.0:
            own = 1.0
        joined = usual = own
        if others.known(now):
            joined, usual = own + others.in_flight(i, now), own + others.usual_in_flight(i, now)
        weight = (seconds / _TPOT_TAU_S if seconds < _TPOT_TAU_S else 1.0) / own
        unseen = 1.0 - math.exp((self._seen_at[i] - now) / _TPOT_TAU_S)
        if unseen > weight:
            weight = unseen
        self._tpot_s[i] += weight * (pace - self._tpot_s[i])
        self._tpot_in_flight[i] += weight * (joined - self._tpot_in_flight[i])
        self._seen_at[i] = self.pace_seen_at[i] = now
        if others.count:
            self._saw_batch(i, pace, own, weight)
        expected = self._prior_alone_s[i] + self._prior_per_batch_s[i] * usual
        answer = self._answer_tokens[i]
        share = tokens / answer if tokens < answer else 1.0  # of an answer: the more run there, the more reports come
        count = self.pace_count[i] + share
        self.pace_count[i] = count = count if count < _SLOW_COUNT else _SLOW_COUNT
        scale, ratio = self.pace_scale[i], pace / expected
        ratio = _LEAST_RATIO if ratio < _LEAST_RATIO else ratio if ratio < _MOST_RATIO else _MOST_RATIO
        self._scale_pace(i, scale * (ratio / scale) ** (share / count))

    def saw_answer(self, i: int, tokens: float) -> None:
        """A whole answer of so many tokens came; 0: nobody counted them."""
        if tokens > 0.0:
            self._answer_tokens[i] += (tokens - self._answer_tokens[i]) / _ANSWER_COUNT
        self._take_strangers_for_others()

    def _saw_batch(self, i: int, pace: float, own: float, weight: float) -> None:
        """A pace gives away how many calls are decoded together, and so how many of them are none of one's own."""
        per_batch = self._tpot_per_batch_s[i]
        if per_batch > 0.0:
            self._others.saw_beside(i, (pace - self._tpot_alone_s[i]) / per_batch - own, weight)

    def saw_misfit(self, i: int, factor: float) -> None:
        """An answer took ``factor`` times what was predicted for its length: how far to trust the next prediction."""
        self._factors[i].saw(factor)
        off = min(_MOST_MISFIT, abs(math.log(factor)))
        self.misfit[i] += (off * off - self.misfit[i]) / _MISFIT_COUNT

    # -- what others and the rest of the pool say ----------------------------------------------------------------------

    def learned_pace(self, i: int, alone_s: float, count: float) -> None:
        """Others learned, from ``count`` answers, the time per output token of a call that is alone."""
        self._scale_pace(i, alone_s / self._prior_alone_s[i])
        self.pace_count[i] = 1.0 + count

    def learned_ttft(self, i: int, idle_s: float, count: float) -> None:
        """Others learned, from ``count`` answers, the time to first token when idle."""
        self._rows.ttft_idle_s[i], self.ttft_count[i] = idle_s, 1.0 + count

    def _scale_pace(self, i: int, scale: float) -> None:
        self.pace_scale[i] = scale
        self._tpot_alone_s[i] = self._prior_alone_s[i] * scale
        self._tpot_per_batch_s[i] = self._prior_per_batch_s[i] * scale

    def _take_strangers_for_others(self) -> None:
        """Who was neither described nor heard of is believed to be as fast as the rest of the pool."""
        if not self._strangers:
            return
        self._strangers = [i for i in self._strangers if not self.heard[i] and self.pace_count[i] <= 1.0]
        known = [i for i in range(len(self._endpoints)) if i not in self._strangers]
        for i in self._strangers if known else ():
            alike = mean_profile([self._profile(k) for k in peers(self._endpoints, i, known)])
            self._prior_alone_s[i], self._prior_per_batch_s[i] = alike.tpot_s, alike.tpot_per_batch_s
            self._rows.tpot_s[i], self._prior_ttft_s[i] = alike.tpot_s, max(1e-3, alike.ttft_s)
            self._scale_pace(i, 1.0)
            self._rows.prefill_tokens_per_s[i], self._rows.ttft_idle_s[i] = alike.prefill_tokens_per_s, alike.ttft_s

    def _profile(self, i: int) -> Profile:
        """What is believed of row ``i`` when it is idle."""
        figures = (
            self._rows.ttft_idle_s,
            self._rows.tpot_alone_s,
            self._rows.tpot_per_batch_s,
            self._rows.prefill_tokens_per_s,
        )
        return Profile(*(figure.item(i) for figure in figures))

    # -- what fades ----------------------------------------------------------------------------------------------------

    def age(self, now: float) -> None:
        """Let the learned speeds of endpoints that gave no token lately fade toward their profiles."""
        if now < self._age_at:
            return
        since_s, self._age_at = now - self._age_at + _AGE_EVERY_S, now + _AGE_EVERY_S
        if since_s == math.inf:
            return
        for i in range(len(self._endpoints)):
            unseen_s = min(since_s, now - self._rows.seen_at.item(i))
            if self.heard[i] and unseen_s >= _AGE_EVERY_S:
                self._scale_pace(i, aged(self.pace_scale[i], 1.0, unseen_s, _SPEED_HALF_LIFE_S))
                self.pace_count[i] = aged(self.pace_count[i], 1.0, unseen_s, _SPEED_HALF_LIFE_S)
                self._rows.ttft_idle_s[i] = aged(
                    self._rows.ttft_idle_s.item(i), self._prior_ttft_s[i], unseen_s, _SPEED_HALF_LIFE_S
                )
                self.ttft_count[i] = aged(self.ttft_count[i], 1.0, unseen_s, _SPEED_HALF_LIFE_S)
