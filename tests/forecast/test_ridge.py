"""Products in blocks, and equations solved without a factorisation, against numpy's own."""

import numpy as np
import pytest

from agentsched.forecast.ridge import products, ridge_weights, weighted


@pytest.mark.parametrize("shape", [(1, 1), (63, 64), (64, 65), (130, 200), (0, 3)])
def test_products_in_blocks_are_the_products(shape: tuple[int, int]) -> None:
    inputs = np.random.default_rng(1).normal(size=shape)
    assert products(inputs) == pytest.approx(inputs.T @ inputs, abs=1e-10)


def test_weights_solve_the_penalised_equations() -> None:
    rng = np.random.default_rng(2)
    inputs = np.hstack([np.ones((400, 1)), rng.normal(size=(400, 40)) * 10.0 ** rng.uniform(-2, 2, 40)])
    target = weighted(inputs, rng.normal(size=41)) + rng.normal(size=400)
    squares, moments = products(inputs), weighted(inputs.T, target)
    expected = np.linalg.solve(squares + 10.0 * np.eye(41), moments)
    assert weighted(inputs, ridge_weights(squares, moments, 10.0)) == pytest.approx(inputs @ expected, abs=1e-3)


def test_inputs_that_are_the_same_twice_or_never_vary_share_the_weight() -> None:
    inputs = np.repeat(np.random.default_rng(3).normal(size=(50, 2)), [2, 1], axis=1)
    inputs = np.hstack([inputs, np.zeros((50, 1))])
    weights = ridge_weights(products(inputs), weighted(inputs.T, inputs[:, 0]), 1e-3)
    assert weights[0] == pytest.approx(weights[1])
    assert (weights[0] + weights[1], weights[3]) == (pytest.approx(1.0, abs=1e-3), 0.0)


def test_nothing_to_explain_takes_no_weight() -> None:
    assert not ridge_weights(np.eye(3), np.zeros(3), 1.0).any()
