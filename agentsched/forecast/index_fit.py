"""Fits the index by which past calls are told alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsched.forecast.call_graph import CallPlace
from agentsched.forecast.features import word_rows
from agentsched.forecast.past_calls import Index
from agentsched.forecast.ridge import products, ridge_weights, weighted

__all__ = ["NUMBERS", "FittedIndex", "fit_index", "numbers_of"]

Array = NDArray[np.float64]

NUMBERS = 6
"""Numbers of a call in its index, the constant included; see `Index.numbers`."""

_RIDGE = 10.0
"""Strength of the ridge penalty on standardised inputs."""

_FOLDS = 5

_MOST_STEPS = 64
"""Steps with a weight of their own; rarer ones share none."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedIndex:
    """An index, and the value of every call it was fitted on, each from runs other than its own."""

    index: Index
    values: Array


def numbers_of(place: CallPlace) -> tuple[float, ...]:
    """The numbers of a call, in the order of `Index.numbers`."""
    log = np.log1p([place.position, place.input_tokens, place.output_so_far, place.count]).tolist()
    return (1.0, float(place.position), log[0], log[1], log[2], log[3])


def fit_index(
    numbers: Array,
    steps: NDArray[np.intp],
    previous: NDArray[np.intp],
    features: Sequence[bytes],
    runs: NDArray[np.intp],
    calls_after: Array,
    codes: Mapping[str, int],
) -> FittedIndex:
    """Ridge regression of log(1 + calls that followed).

    Args:
        numbers: shape (n, NUMBERS), rows as from `numbers_of`.
        steps, previous: codes, -1 where there is none.
        features: packed features of the prompts.
        runs: the run of each row.
        calls_after: what followed each row.
        codes: step -> code.
    """
    inputs, scale = _inputs(numbers, steps, previous, features, len(codes))
    target = np.log1p(calls_after)
    folds = [runs % _FOLDS == fold for fold in range(_FOLDS)]
    sums = [(products(inputs[held]), weighted(inputs[held].T, target[held])) for held in folds]
    everything = np.sum([one[0] for one in sums], axis=0), np.sum([one[1] for one in sums], axis=0)
    values = np.zeros(len(target))
    for held, (own, own_moments) in zip(folds, sums, strict=True):
        others = ridge_weights(everything[0] - own, everything[1] - own_moments, _RIDGE)
        values[held] = weighted(inputs[held], others)
    weights = ridge_weights(*everything, _RIDGE)
    kinds = min(len(codes), _MOST_STEPS)
    after, before, words = np.split(weights[NUMBERS:], (kinds, 2 * kinds))
    plain = weights[:NUMBERS] / scale[1]
    plain[0] = weights[0] - float((scale[0] * plain)[1:].sum())
    silent = [0.0] * (len(codes) - kinds)
    index = Index(
        numbers=tuple(plain.tolist()),
        steps=(*after.tolist(), *silent),
        previous=(*before.tolist(), *silent),
        words=words,
        spread=max(1e-3, float(values.std())),
    )
    return FittedIndex(index, values)


def _inputs(
    numbers: Array, steps: NDArray[np.intp], previous: NDArray[np.intp], features: Sequence[bytes], kinds: int
) -> tuple[Array, tuple[Array, Array]]:
    mean, deviation = numbers.mean(axis=0), numbers.std(axis=0) + 1e-9
    mean[0], deviation[0] = 0.0, 1.0
    levels = np.arange(min(kinds, _MOST_STEPS))
    parts = [(numbers - mean) / deviation, steps[:, None] == levels, previous[:, None] == levels]
    parts.append(word_rows(features) if any(features) else np.zeros((len(steps), 0)))
    return np.hstack(parts).astype(np.float64), (mean, deviation)
