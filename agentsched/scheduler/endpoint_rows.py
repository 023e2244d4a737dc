"""The figures of a pool's endpoints, one column each, in one array so that a decision gathers them in one step."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from agentsched.core.endpoint import Endpoint

__all__ = [
    "ERRORS",
    "EXCESS",
    "EXCESS_AT",
    "QUEUE_STAKE",
    "QUEUE_STAKE_MEAN",
    "READY",
    "SEEN_AT",
    "SHOWN",
    "STAKE",
    "STAKE_TOKENS",
    "EndpointRows",
    "figures",
]

Array = NDArray[np.float64]

SEEN_AT, EXCESS, READY, ERRORS, STAKE, STAKE_TOKENS, QUEUE_STAKE = 4, 5, 10, 14, 15, 17, 18
"""Rows that are not shown as they are kept: positions among the fields of EndpointStates."""

SHOWN, EXCESS_AT, QUEUE_STAKE_MEAN = 22, 22, 23
"""How many rows are shown, and those behind them from which two of these are worked out."""


class EndpointRows:
    """One row per field of `EndpointStates`, in that order, and a few more; the attributes are views of `all`.

    Args:
        endpoints: the pool, whose declared figures the rows begin with.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        profiles = [endpoint.profile for endpoint in endpoints]
        count = len(endpoints)

        def row(value: float = 0.0) -> Array:
            return np.full(count, value)

        def column(values: Iterable[float]) -> Array:
            return np.fromiter(values, dtype=np.float64, count=count)

        self.all = np.stack(
            [
                row(),
                row(),
                column(p.tpot_s for p in profiles),
                row(1.0),
                row(-np.inf),
                row(),
                column(p.tpot_s for p in profiles),
                column(p.tpot_per_batch_s for p in profiles),
                column(p.prefill_tokens_per_s for p in profiles),
                column(p.ttft_s for p in profiles),
                row(),
                column(e.price.input * 1e-6 for e in endpoints),
                column(e.price.output * 1e-6 for e in endpoints),
                column(e.quality for e in endpoints),
                row(),
                row(),
                row(),
                row(),
                row(),
                column(e.max_concurrency or np.inf for e in endpoints),
                column(60.0 / e.rpm if e.rpm else 0.0 for e in endpoints),
                column(60.0 / e.tpm if e.tpm else 0.0 for e in endpoints),
                row(),
                row(),
            ]
        )
        self.in_flight, self.prefill_tokens, self.tpot_s, self.tpot_in_flight, self.seen_at = self.all[:5]
        self.excess_ttft_s, self.tpot_alone_s, self.tpot_per_batch_s = self.all[5:8]
        self.prefill_tokens_per_s, self.ttft_idle_s, self.error_rate = self.all[8], self.all[9], self.all[ERRORS]
        self.stake_per_s, self.stake_mean_per_s = self.all[STAKE], self.all[STAKE + 1]
        self.stake_tokens, self.queue_stake_per_s = self.all[STAKE_TOKENS], self.all[QUEUE_STAKE]  # the former * stake
        self.slots = self.all[19]
        self.excess_at, self.queue_stake_mean_per_s = self.all[EXCESS_AT], self.all[QUEUE_STAKE_MEAN]


def figures(row: Array) -> "memoryview[float]":
    """The same memory for code that touches one figure at a time: this takes half as long as through the array."""
    return row.data.cast("B").cast("d")
