"""What predictors read of a prompt: the words of its last message, as hashed buckets; the text itself is not kept.

Of a long text the head and the tail are read, so that it costs the same few tens of microseconds whatever its length.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["WORD_BUCKETS", "packed_features", "word_buckets", "word_rows", "words_score"]

Array = NDArray[np.float64]

_BITS = 8
WORD_BUCKETS = 1 << _BITS
"""Buckets that words are hashed into."""

_PART = 500
"""Characters that are read from either end."""

_SCALE = 3.0
"""Length of the vector of a prompt's buckets, against the unit variance of numbers: how freely words may speak."""

_LONGEST = 31
"""Letters of a word after which its hash begins to mix them; a power of two less one."""


def _letters() -> NDArray[np.uint32]:
    """Byte -> its value in a word: letters in lower case, digits, underscores, ``#``, what is not ASCII; others: 0."""
    table = np.zeros(256, dtype=np.uint32)
    table[128:] = np.arange(128, 256)
    for byte in b"0123456789_#abcdefghijklmnopqrstuvwxyz":
        table[byte] = byte
    table[ord("A") : ord("Z") + 1] = table[ord("a") : ord("z") + 1]
    return table


_LETTERS = _letters()
_FACTORS = np.array([pow(2654435761, k + 1, 1 << 32) for k in range(_LONGEST + 1)], dtype=np.uint32)
_GOLDEN, _SHIFT = np.uint32(0x9E3779B1), np.uint32(32 - _BITS)
"""Multiplicative hashing (Knuth): the upper bits of a product with 2^32 over the golden ratio."""


def packed_features(text: str) -> bytes:
    """The distinct buckets of the words in a text, ascending, two bytes each; empty if there is no word."""
    if len(text) > 2 * _PART:
        text = f"{text[:_PART]} {text[-_PART:]}"
    letters = _LETTERS.take(np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8))
    places = letters.nonzero()[0]
    if not places.size:
        return b""
    first = np.empty(places.size, dtype=bool)
    first[0] = True
    np.not_equal(places[1:] - 1, places[:-1], out=first[1:])
    ranks = np.arange(places.size)
    ranks -= np.maximum.accumulate(first * ranks)  # of each letter in its word
    ranks &= _LONGEST
    values = _FACTORS.take(ranks)
    values *= letters.take(places)
    hashes = np.add.reduceat(values, first.nonzero()[0], dtype=np.uint32)
    hashes *= _GOLDEN
    hashes >>= _SHIFT
    seen = np.zeros(WORD_BUCKETS, dtype=bool)
    seen[hashes] = True
    return seen.nonzero()[0].astype("<u2").tobytes()


def word_buckets(features: bytes) -> NDArray[np.uint16]:
    """The buckets in packed features."""
    return np.frombuffer(features, dtype="<u2")


def words_score(features: bytes, weights: Array) -> float:
    """The weighted sum of a prompt's buckets; 0 without features or weights."""
    if not features or not weights.size:
        return 0.0
    buckets = word_buckets(features)
    return float(np.add.reduce(weights.take(buckets))) * (_SCALE / math.sqrt(buckets.size))


def word_rows(features: Sequence[bytes]) -> Array:
    """One row of bucket values per prompt, shape (len(features), WORD_BUCKETS): what `words_score` weighs."""
    rows = np.zeros((len(features), WORD_BUCKETS))
    for row, packed in zip(rows, features, strict=True):
        if packed:
            buckets = word_buckets(packed)
            row[buckets] = _SCALE / math.sqrt(buckets.size)
    return rows
