"""What followed optional steps in past runs, told at their first calls: what follows them if they are left out.

A visit of an optional step is a few calls of a run. What came after the last of them to end, on the critical path, is
taken for what comes if the step is left out. That errs on the safe side: a program may leave out more where a step was
(``if not step.skipped``), and what it does then is not learned from. It becomes a row where the visit's first call
stood, so that it is drawn from by the very weights that say what follows that call. Visits that the end of their run
cut short teach nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsched.core.optional import step_of_visit
from agentsched.core.records import CallEnded
from agentsched.forecast.past_calls import PastCalls

__all__ = ["Leaving", "Rows", "leavings_of", "tables_of_leavings"]

Array = NDArray[np.float64]

_FEWEST = 8
"""Visits from which on something is said of an optional step."""


class Leaving(NamedTuple):
    """One visit of an optional step in a past run.

    Attributes:
        step: the step's name.
        row: the number of its first call among those that are kept of the run.
        work: what followed its last call, shape (4,), columns as in `agentsched.forecast.call_graph.WORK`.
    """

    step: str
    row: int
    work: Array


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """All rows of a workflow, one per past call, in the order of their runs; each array of shape (n,)."""

    step: NDArray[np.intp]
    position: Array
    index: Array
    prompt: Array
    short: Array


def leavings_of(calls: Sequence[CallEnded], work: Array, kept: NDArray[np.intp], *, whole: bool) -> tuple[Leaving, ...]:
    """The visits of a run's optional steps.

    Args:
        calls: the run's calls by arrival.
        work: what followed each, shape (len(calls), 4).
        kept: the numbers of those that become rows.
        whole: whether it came to its own end.
    """
    visits: dict[str, list[int]] = {}
    for number, record in enumerate(calls):
        for visit in record.call.optional:
            visits.setdefault(visit, []).append(number)
    row_of = {number: row for row, number in enumerate(kept.tolist())}
    last_end = max(record.ended_at for record in calls)
    found: list[Leaving] = []
    for visit, numbers in visits.items():
        last = max(numbers, key=lambda number: calls[number].ended_at)
        if numbers[0] in row_of and (whole or calls[last].ended_at < last_end):
            found.append(Leaving(step_of_visit(visit), row_of[numbers[0]], work[last]))
    return tuple(found)


def tables_of_leavings(
    runs: Sequence[tuple[int, Sequence[Leaving]]], rows: Rows, table: PastCalls
) -> Mapping[str, PastCalls]:
    """For each optional step that was seen often enough a table like ``table``, of what followed the step.

    Args:
        runs: of each run, where its rows begin and its visits.
        rows: all rows.
        table: what is drawn from otherwise.
    """
    visits: dict[str, list[tuple[int, Array]]] = {}
    for first, leavings in runs:
        for leaving in leavings:
            visits.setdefault(leaving.step, []).append((first + leaving.row, leaving.work))
    return MappingProxyType({step: _table(seen, rows, table) for step, seen in visits.items() if len(seen) >= _FEWEST})


def _table(seen: list[tuple[int, Array]], rows: Rows, table: PastCalls) -> PastCalls:
    at = np.array([row for row, _ in seen], dtype=np.intp)
    work = np.stack([work for _, work in seen])
    work[:, 1] -= table.carried * rows.prompt[at] * work[:, 2]
    order = np.lexsort((work[:, 0], rows.short[at], work[:, 2])).astype(np.intp)
    at = at[order]
    short, position = rows.short[at], rows.position[at]
    last_positions: dict[int, tuple[float, ...]] = {-1: tuple(sorted(position.tolist()))}
    for code in set(rows.step[at].tolist()):
        last_positions[code] = tuple(sorted(position[rows.step[at] == code].tolist()))
    return replace(
        table,
        step=rows.step[at].astype(np.float32),
        position=position.astype(np.float32),
        index=rows.index[at].astype(np.float32),
        work=work[order].astype(np.float32),
        whole=(1.0 - short).astype(np.float32) if short.any() else None,
        last_positions=MappingProxyType(last_positions),
    )
