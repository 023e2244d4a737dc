"""The past runs of one workflow, remembered row by row until newer ones need their place."""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from agentsched.core.records import CallEnded
from agentsched.forecast.call_graph import in_order, places, work_after
from agentsched.forecast.features import word_rows
from agentsched.forecast.index_fit import fit_index, numbers_of
from agentsched.forecast.leaving import Leaving, Rows, leavings_of, tables_of_leavings
from agentsched.forecast.outlook import PRIOR_WORK_PER_CALL
from agentsched.forecast.past_calls import Index, PastCalls

__all__ = ["PastRun", "RunMemory", "evenly"]

Array = NDArray[np.float64]

_MOST_ROWS = 3072
"""Rows kept of one workflow."""

_ROWS_OF_A_RUN = 256
"""Rows kept of one run; of a longer one evenly spaced calls."""

_RUNS_FOR_AN_INDEX = 8
"""Runs before an index is fitted; again whenever there are a quarter more."""

_AT_THE_LIMIT = 3, 0.02
"""So many runs, and this share of them, that are exactly as long as the longest show a limit."""

_PRIOR_CALLS = 2.0
"""What calls cost before one was seen counts as so many calls."""


def evenly(size: int, most: int) -> NDArray[np.intp]:
    """At most so many of the numbers from 0 to ``size`` - 1, evenly spaced, ascending."""
    chosen: NDArray[np.intp] = np.unique(np.linspace(0, size - 1, min(size, most)).astype(np.intp))
    return chosen


@dataclass(frozen=True, slots=True, eq=False)
class PastRun:
    """One run, calls in order of arrival; arrays and lists have one entry per call.

    Attributes:
        steps, previous: the step of each call and of the one before; empty: it was the first.
        numbers: shape (n, 6), see `numbers_of`.
        features: packed features of the prompts.
        work: what followed, shape (n, 4).
        calls: how many calls the run made, also where fewer are kept.
        cost: mean work per call, shape (4,): output and prompt tokens, 1, seconds before the call.
        whole: whether the run came to its own end.
        leavings: its visits of optional steps.
    """

    steps: tuple[str, ...]
    previous: tuple[str, ...]
    numbers: Array
    features: tuple[bytes, ...]
    work: Array
    calls: int
    cost: Array
    whole: bool
    leavings: tuple[Leaving, ...] = ()

    @classmethod
    def of(cls, calls: Sequence[CallEnded], ended_at: float, whole: bool) -> "PastRun":
        """The run that made these calls, at least one."""
        ordered = in_order(calls)
        stood, work = places(ordered), work_after(ordered, ended_at)
        size = len(ordered)
        kept = evenly(size, _ROWS_OF_A_RUN)
        spent = [(float(c.output_tokens), float(c.input_tokens), 1.0, max(0.0, c.call.tool_s)) for c in ordered]
        return cls(
            steps=tuple(stood[i].step for i in kept),
            previous=tuple(stood[i].previous for i in kept),
            numbers=np.array([numbers_of(stood[i]) for i in kept]),
            features=tuple(stood[i].features for i in kept),
            work=work[kept],
            calls=size,
            cost=np.mean(spent, axis=0),
            whole=whole,
            leavings=leavings_of(ordered, work, kept, whole=whole),
        )


class RunMemory:
    """Past runs of one workflow, and the index that suits them. Bounded; one thread learns.

    Attributes:
        rows: past calls remembered.
        news: runs that came since the last table.
    """

    def __init__(self) -> None:
        self._runs: deque[PastRun] = deque()
        self._values: deque[Array] = deque()
        self._codes: dict[str, int] = {}
        self._learned: Index | None = None
        self._fit_at = _RUNS_FOR_AN_INDEX
        self._fitted_at = _RUNS_FOR_AN_INDEX // 2
        self._seen = 0
        self.rows = 0
        self.news = 0

    def add(self, run: PastRun) -> None:
        """Remember a run, and forget the oldest ones that no longer fit in."""
        for step in run.steps:
            self._codes.setdefault(step, len(self._codes))
        self._runs.append(run)
        self._values.append(self._values_of(run))
        self.rows += len(run.steps)
        self._seen += 1
        self.news += 1
        while self.rows > _MOST_ROWS and len(self._runs) > 1:
            self._drop_oldest()

    def forget(self, kept: int) -> None:
        """Forget all but the latest runs."""
        while len(self._runs) > kept:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self.rows -= len(self._runs.popleft().steps)
        self._values.popleft()

    def _values_of(self, run: PastRun) -> Array:
        learned = self._learned
        if learned is None:
            return np.zeros(len(run.steps))
        values: Array = run.numbers @ np.array(learned.numbers)
        for name, weights in ((run.steps, learned.steps), (run.previous, learned.previous)):
            codes = [self._codes.get(step, -1) for step in name]
            values += [weights[code] if 0 <= code < len(weights) else 0.0 for code in codes]
        if learned.words.size:
            values += word_rows(run.features) @ learned.words
        return values

    def table(self, *, fresh: bool = True) -> PastCalls:
        """What is remembered, as a table to draw from; fits the index anew when enough has come.

        Args:
            fresh: enough is a quarter more runs; else as many again, which is less work.
        """
        if self._seen >= (self._fit_at if fresh else 2 * self._fitted_at):
            self._fit()
            self._fitted_at = self._seen
            self._fit_at = self._seen + max(1, self._seen // 4)
        self.news = 0
        return self._table()

    def __len__(self) -> int:
        return len(self._runs)

    def _fit(self) -> None:
        runs = np.repeat(np.arange(len(self._runs)), [len(run.steps) for run in self._runs])
        work = np.concatenate([run.work for run in self._runs])
        fitted = fit_index(
            np.concatenate([run.numbers for run in self._runs]),
            self._coded("steps"),
            self._coded("previous"),
            [packed for run in self._runs for packed in run.features],
            runs,
            work[:, 2],
            self._codes,
        )
        ends = np.cumsum([len(run.steps) for run in self._runs])[:-1]
        self._values = deque(np.split(fitted.values, ends))
        self._learned = fitted.index

    def _coded(self, which: str) -> NDArray[np.intp]:
        return np.array(
            [self._codes.get(step, -1) for run in self._runs for step in getattr(run, which)], dtype=np.intp
        )

    def _table(self) -> PastCalls:
        work = np.concatenate([run.work for run in self._runs])
        steps = self._coded("steps")
        prompts = np.expm1(np.concatenate([run.numbers[:, 3] for run in self._runs]))
        carried = _carried(prompts, work, steps)
        work[:, 1] -= carried * prompts * work[:, 2]
        short = np.concatenate([np.full(len(run.steps), 0.0 if run.whole else 1.0) for run in self._runs])
        order = np.lexsort((work[:, 0], short, work[:, 2])).astype(np.intp)
        position = np.concatenate([run.numbers[:, 1] for run in self._runs])
        index = np.concatenate(list(self._values))
        table = PastCalls(
            codes=MappingProxyType(dict(self._codes)),
            step=steps[order].astype(np.float32),
            position=position[order].astype(np.float32),
            index=index[order].astype(np.float32),
            work=work[order].astype(np.float32),
            whole=(1.0 - short[order]).astype(np.float32) if short.any() else None,
            last_positions=self._last_positions(),
            per_call=self._per_call(),
            carried=carried,
            longest=float(max(run.calls for run in self._runs)),
            most_calls=self._limit(),
            learned=None if self._learned is None else _padded(self._learned, len(self._codes)),
        )
        if not any(run.leavings for run in self._runs):
            return table
        firsts = np.cumsum([0, *(len(run.steps) for run in self._runs)]).tolist()
        visits = [(first, run.leavings) for first, run in zip(firsts, self._runs, strict=False)]
        return replace(table, left=tables_of_leavings(visits, Rows(steps, position, index, prompts, short), table))

    def _last_positions(self) -> Mapping[int, tuple[float, ...]]:
        found: defaultdict[int, list[float]] = defaultdict(list)
        for run in self._runs:
            last: dict[int, float] = {}
            for step, position in zip(run.steps, run.numbers[:, 1].tolist(), strict=True):
                last[self._codes[step]] = last[-1] = position
            for code, position in last.items():
                found[code].append(position)
        return MappingProxyType({code: tuple(sorted(positions)) for code, positions in found.items()})

    def _per_call(self) -> Array:
        calls = np.array([run.calls for run in self._runs], dtype=np.float64)
        spent = calls @ np.stack([run.cost for run in self._runs])
        mean: Array = (spent + _PRIOR_CALLS * PRIOR_WORK_PER_CALL) / (calls.sum() + _PRIOR_CALLS)
        return mean

    def _limit(self) -> float:
        lengths = [run.calls for run in self._runs]
        longest = max(lengths)
        least, share = _AT_THE_LIMIT
        at_it = lengths.count(longest)
        varied = longest > min(lengths)
        return float(longest) if varied and at_it >= max(least, share * len(lengths)) else float("inf")


def _carried(prompts: Array, work: Array, steps: NDArray[np.intp]) -> float:
    """How much of what a prompt has more than others of its step the prompts after it have as well, from 0 to 1.

    Least squares of the mean prompt of the calls that followed on the call's own, both as deviations from their means
    over the step: near 1 where a conversation is told again in every call, 0 where calls have nothing in common.
    """
    followed = work[:, 2] > 0.0
    step = steps[followed]
    own = _deviations(prompts[followed], step)
    after = _deviations(work[followed, 1] / work[followed, 2], step)
    return min(1.0, max(0.0, float(own @ after) / (float(own @ own) + 1.0)))


def _deviations(values: Array, steps: NDArray[np.intp]) -> Array:
    """From the mean of each step's rows."""
    means = np.bincount(steps, values) / np.maximum(1, np.bincount(steps))
    deviations: Array = values - means[steps]
    return deviations


def _padded(index: Index, kinds: int) -> Index:
    """The index with a silent weight for steps that came after it was fitted."""
    missing = (0.0,) * (kinds - len(index.steps))
    if not missing:
        return index
    return Index(index.numbers, index.steps + missing, index.previous + missing, index.words, index.spread)
