"""The words of a prompt, as hashed buckets, in a linear score."""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["WORD_BUCKETS", "word_buckets", "word_rows", "words_score"]

Array = NDArray[np.float64]

WORD_BUCKETS = 256
"""Buckets that words are hashed into."""

_SCALE = 3.0
"""Length of the vector of a prompt's buckets, against the unit variance of numbers: how freely words may speak."""


def word_buckets(features: bytes) -> NDArray[np.intp]:
    """The distinct buckets of a prompt's packed features."""
    return np.frombuffer(features, dtype="<u2").astype(np.intp) % WORD_BUCKETS


def words_score(features: bytes, weights: Array) -> float:
    """The weighted sum of a prompt's buckets; 0 without features or weights."""
    if not features or not weights.size:
        return 0.0
    buckets = word_buckets(features)
    return float(np.add.reduce(weights.take(buckets))) * (_SCALE / math.sqrt(buckets.size))


def word_rows(features: list[bytes]) -> Array:
    """One row of bucket values per prompt, shape (len(features), WORD_BUCKETS): what `words_score` weighs."""
    rows = np.zeros((len(features), WORD_BUCKETS))
    for row, packed in zip(rows, features, strict=True):
        if packed:
            buckets = word_buckets(packed)
            np.add.at(row, buckets, _SCALE / math.sqrt(buckets.size))
    return rows
