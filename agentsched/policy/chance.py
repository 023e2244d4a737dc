"""Chance without a generator: numbers that follow from a call alone, so that a policy that draws lots stays pure.

The same call always draws the same numbers, in this process and in any other: a recording replays exactly, and a call
that is placed anew after waiting does not change its mind.
"""

from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["fractions"]

# Arrays without dimensions: numpy makes one of every scalar, which takes as long as the sum itself.
_GOLDEN = np.array(0x9E3779B97F4A7C15, np.uint64)
_FIRST, _SECOND = np.array(0xBF58476D1CE4E5B9, np.uint64), np.array(0x94D049BB133111EB, np.uint64)
_SHIFTS = tuple(np.array(bits, np.uint64) for bits in (30, 27, 31, 11))
_UNIT = np.array(2.0**-53)


def fractions(key: str, count: int, seed: int = 0) -> NDArray[np.float64]:
    """``count`` numbers, uniform in [0, 1) and independent of those of other keys and seeds, shape (count,).

    A 64-bit hash of the key starts SplitMix64 (Steele, Lea and Flood, 2014), taken at ``count`` places at once.

    Args:
        key: what they belong to, e.g. a call's id.
        count: how many.
        seed: a non-negative number below 2**64 that gives everybody other numbers.
    """
    start = int.from_bytes(blake2b(key.encode(), digest_size=8, salt=seed.to_bytes(8, "little")).digest(), "little")
    z = _places(count) + np.uint64(start)
    z ^= z >> _SHIFTS[0]
    z *= _FIRST
    z ^= z >> _SHIFTS[1]
    z *= _SECOND
    z ^= z >> _SHIFTS[2]
    lots: NDArray[np.float64] = (z >> _SHIFTS[3]).astype(np.float64) * _UNIT
    return lots


@lru_cache(maxsize=64)
def _places(count: int) -> NDArray[np.uint64]:
    return np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
