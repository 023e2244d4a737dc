from pathlib import Path

import numpy as np
import pytest

from agentsched.core.forecast import normal_quantiles
from agentsched.forecast.endpoint_latency import LatencyFactors, aged

DATA = Path(__file__).parents[3] / "shared/data/bfcl/calls_latency_2024-08-11.parquet"
LEVELS = (np.arange(32) + 0.5) / 32


def test_at_first_answers_come_as_predicted_more_or_less():
    made = LatencyFactors().quantiles()
    assert np.median(made) == pytest.approx(1.0, abs=0.01)
    assert 1.2 < made[-1] < 1.6
    assert not made.flags.writeable


def test_stalls_stay_in_the_tail_and_out_of_the_middle():
    factors = LatencyFactors()
    rng = np.random.default_rng(4)
    for _ in range(200):
        factors.saw(12.0 if rng.random() < 0.05 else float(np.exp(0.1 * rng.normal())))
    made = factors.quantiles()
    assert (np.diff(made) >= 0).all()
    assert made[16] == pytest.approx(1.0, abs=0.1)
    assert made[28] < 1.5
    assert made[31] > 8.0


def test_a_bias_is_learned_and_forgotten():
    factors = LatencyFactors()
    for _ in range(128):
        factors.saw(3.0)
    assert factors.quantiles()[16] == pytest.approx(3.0, rel=0.05)
    for _ in range(128):
        factors.saw(1.0)
    assert factors.quantiles()[30] < 1.5


def test_one_answer_moves_little_and_nonsense_is_bounded():
    factors = LatencyFactors()
    factors.saw(1e9)
    assert factors.quantiles()[16] < 1.1
    assert factors.quantiles()[31] <= np.exp(4.0) + 1e-9


def test_what_is_not_confirmed_ages_toward_the_prior():
    assert aged(8.0, 2.0, 0.0, 3600.0) == 8.0
    assert aged(8.0, 2.0, 3600.0, 3600.0) == pytest.approx(4.0)
    assert aged(0.5, 2.0, 3600.0, 3600.0) == pytest.approx(1.0)
    assert aged(8.0, 2.0, 1e7, 3600.0) == pytest.approx(2.0)
    assert aged(8.0, 2.0, -5.0, 3600.0) == 8.0


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_on_hosted_endpoints_it_loses_less_than_a_lognormal():
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = parquet.read_table(DATA, columns=["model", "latency_s", "output_tokens"]).to_pydict()
    by_model: dict[str, list[tuple[float, float]]] = {}
    for model, latency_s, tokens in zip(*columns.values(), strict=True):
        if latency_s and tokens:
            by_model.setdefault(model, []).append((latency_s, tokens))
    losses = {"ours": np.zeros(3), "lognormal": np.zeros(3)}
    covered = []
    for calls in [calls for calls in by_model.values() if len(calls) > 500][:12]:
        latency, tokens = np.array(calls[:700]).T
        inputs = np.stack([np.ones_like(tokens), tokens], axis=1)
        fit, *_ = np.linalg.lstsq(inputs[:100] / latency[:100, None], np.ones(100), rcond=None)
        predicted = inputs @ np.maximum(fit, (1e-3, 1e-4))
        factors, variance = LatencyFactors(), 0.15**2
        for factor in (latency / predicted)[100:].tolist():
            for name, made in (
                ("ours", factors.quantiles()),
                ("lognormal", np.exp(np.sqrt(variance) * normal_quantiles(32))),
            ):
                error = factor - np.interp((0.5, 0.9, 0.99), LEVELS, made)
                losses[name] += np.maximum((0.5, 0.9, 0.99) * error, ((-0.5, -0.1, -0.01)) * error)
            covered.append(factor <= np.interp(0.9, LEVELS, factors.quantiles()))
            factors.saw(factor)
            variance += (min(2.0, abs(np.log(factor))) ** 2 - variance) / 16
    assert losses["ours"].sum() < 0.98 * losses["lognormal"].sum()
    assert losses["ours"][2] < 0.95 * losses["lognormal"][2]
    assert 0.87 < np.mean(covered) < 0.93
