"""What the calls running at each endpoint have to lose by delay, kept up to date: the base of every toll.

A call's loss per second changes as its tokens come and its deadline nears, so all are worked out anew every half
second, in one pass over arrays, and never while a call waits for its decision.
"""

import math

import numpy as np
from numpy.typing import NDArray

from agentsched.core.decision import Stake
from agentsched.forecast.latency import KNOWN_SPREAD, lognormal_factors
from agentsched.policy.slopes import running_slopes
from agentsched.scheduler.call_state import AttemptState
from agentsched.scheduler.endpoint_table import EndpointTable

__all__ = ["RunningStakes"]

Array = NDArray[np.float64]

_REFRESH_S = 0.5
"""Stakes are worked out anew this often, seconds (decision 6)."""

_MOST_OVERDUE_S = 1.0
"""From this age on they are worked out even if a call waits for a decision, seconds."""

_FIRST_ROWS = 64

_ENDLESS = 0.1
"""An answer longer than every forecast is expected to go on for this share of what it has."""


class RunningStakes:
    """One row per running attempt whose policy said what it has to lose; rows are dense, the last fills a gap."""

    def __init__(self, table: EndpointTable) -> None:
        self._table = table
        self._attempts: list[AttemptState] = []
        self._samples = 0
        self._fresh_at = -math.inf
        self._used = False

    def __len__(self) -> int:
        return len(self._attempts)

    def _make_rows(self, rows: int, samples: int) -> None:
        self._samples = samples
        self._endpoint = np.zeros(rows, dtype=np.intp)
        self._lengths, self._rests = np.zeros((rows, samples)), np.zeros((rows, samples))
        # Columns: due at, worth, loss without a deadline, first token at, tokens so far, not before, whether its tokens
        # are seen only at its end, loss, loss * tokens
        self._facts = np.zeros((rows, 9))
        self._noise = lognormal_factors(KNOWN_SPREAD)[:: max(1, 32 // samples)][:samples]
        self._noise = np.resize(self._noise, samples)

    def _grow(self) -> None:
        self._endpoint = np.concatenate((self._endpoint, np.zeros_like(self._endpoint)))
        for name in ("_lengths", "_rests", "_facts"):
            held: Array = getattr(self, name)
            setattr(self, name, np.concatenate((held, np.zeros_like(held))))

    def add(self, attempt: AttemptState, stake: Stake, *, streams: bool) -> None:
        """An attempt starts; its endpoint carries its stake from now on."""
        if not self._used:
            self._used, self._fresh_at = True, attempt.started_at
            self._make_rows(_FIRST_ROWS, stake.length_tokens.size)
        row = attempt.stake_row = len(self._attempts)
        if row == self._endpoint.size:
            self._grow()
        self._attempts.append(attempt)
        self._endpoint[row] = attempt.endpoint
        self._lengths[row] = stake.length_tokens
        self._rests[row] = stake.rest_s
        due_at, base = (math.inf, stake.per_s) if stake.due_at is None else (stake.due_at, 0.0)
        first_at = attempt.started_at + attempt.predicted_ttft_s
        self._facts[row] = (
            due_at,
            stake.weight,
            base,
            first_at,
            0.0,
            stake.until_at,
            0.0 if streams else 1.0,
            stake.per_s,
            stake.per_s * stake.output_tokens,
        )
        self._table.add_stake(attempt.endpoint, stake.per_s, stake.per_s * stake.output_tokens)

    def progressed(self, attempt: AttemptState, now: float) -> None:
        """Its tokens came."""
        row = attempt.stake_row
        if row is not None:
            facts = self._facts[row]
            facts[4] = attempt.tokens
            if facts[3] > now:
                facts[3] = now

    def remove(self, attempt: AttemptState) -> None:
        """It is over."""
        row = attempt.stake_row
        if row is None:
            return
        loss, loss_tokens = self._facts[row, 7:].tolist()
        self._table.add_stake(attempt.endpoint, -loss, -loss_tokens)
        attempt.stake_row = None
        last = self._attempts.pop()
        if last is not attempt:
            end = len(self._attempts)
            self._attempts[row] = last
            last.stake_row = row
            self._endpoint[row] = self._endpoint[end]
            for held in (self._lengths, self._rests, self._facts):
                held[row] = held[end]

    def refresh(self, now: float, *, hurried: bool) -> None:
        """Work them out anew if they are old; ``hurried``: only if that can no longer be put off."""
        if not self._used or now - self._fresh_at < (_MOST_OVERDUE_S if hurried else _REFRESH_S):
            return
        self._fresh_at = now
        count = len(self._attempts)
        if count == 0:
            self._table.refresh_stakes(np.zeros(0, dtype=np.intp), np.zeros(0), np.zeros(0), now)
            return
        endpoint, facts = self._endpoint[:count], self._facts[:count]
        pace = self._table.pace(now)[endpoint]
        waited = now - facts[:, 3]
        tokens = facts[:, 4] + facts[:, 6] * np.maximum(0.0, waited) / pace
        left = self._lengths[:count] - tokens[:, None]
        likely = (left > 0.0).astype(np.float64)
        open_samples = likely.sum(axis=1)
        beyond = open_samples == 0.0
        if beyond.any():
            left[beyond] = (_ENDLESS * tokens[beyond] + 1.0)[:, None]
            likely[beyond], open_samples[beyond] = 1.0, self._samples
        likely /= open_samples[:, None]
        mean_left = np.einsum("ij,ij->i", left, likely)
        left *= pace[:, None]
        left += np.maximum(0.0, -waited)[:, None]
        left *= self._noise
        np.maximum(left, (facts[:, 5] - now)[:, None], out=left)
        left += self._rests[:count]
        loss = running_slopes(left, likely, facts[:, 0] - now)
        loss *= facts[:, 1]
        loss += facts[:, 2]
        facts[:, 7] = loss
        facts[:, 8] = loss * mean_left
        self._table.refresh_stakes(endpoint, loss, facts[:, 8], now)
