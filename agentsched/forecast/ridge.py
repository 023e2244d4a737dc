"""Ridge regression that stays in its own thread.

The linear algebra behind numpy divides larger products among threads of its own, and those wait for each other by
spinning: on a machine whose cores are all busy a fit of some milliseconds then burns seconds of CPU. So the products
are made of blocks too small to be worth dividing, and the equations are solved by conjugate gradients (Hestenes and
Stiefel 1952), which need products with vectors only.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["products", "ridge_weights", "weighted"]

Array = NDArray[np.float64]

_BLOCK = 64
"""Rows and columns of a block: OpenBLAS divides products of more than 64 x 64 x 64."""

_CLOSE = 1e-9
"""The equations are solved when what is left over of them is this share of the right-hand side."""


def products(inputs: Array) -> Array:
    """``inputs.T @ inputs``, shape (d, d) for inputs of shape (n, d)."""
    count, width = inputs.shape
    padded = np.zeros((-(-max(1, count) // _BLOCK), _BLOCK, -(-width // _BLOCK) * _BLOCK))
    padded.reshape(-1, padded.shape[2])[:count, :width] = inputs
    made = np.empty((padded.shape[2], padded.shape[2]))
    for i in range(0, width, _BLOCK):
        left = padded[:, :, i : i + _BLOCK].transpose(0, 2, 1)
        for j in range(i, width, _BLOCK):
            block = np.matmul(left, padded[:, :, j : j + _BLOCK]).sum(axis=0)
            made[i : i + _BLOCK, j : j + _BLOCK] = block
            made[j : j + _BLOCK, i : i + _BLOCK] = block.T
    return made[:width, :width]


def weighted(inputs: Array, weights: Array) -> Array:
    """``inputs @ weights``, shape (n,) for inputs of shape (n, d)."""
    result: Array = np.einsum("ij,j->i", inputs, weights)
    return result


def ridge_weights(squares: Array, moments: Array, penalty: float) -> Array:
    """The weights w with (squares + penalty I) w = moments, shape (d,).

    Args:
        squares: products of the inputs with each other, shape (d, d), symmetric.
        moments: of the inputs with the target, shape (d,).
        penalty: more than 0.
    """
    weights = np.zeros(len(moments))
    left = moments.copy()
    direction = left.copy()
    size = float(np.add.reduce(left * left))
    enough = size * _CLOSE**2
    for _ in range(2 * len(moments)):
        if size <= enough:
            break
        image = weighted(squares, direction)
        image += penalty * direction
        step = size / float(np.add.reduce(direction * image))
        weights += step * direction
        left -= step * image
        before, size = size, float(np.add.reduce(left * left))
        direction *= size / before
        direction += left
    return weights
