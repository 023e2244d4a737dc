"""SwarmX's drift: what the router believes of tasks, and that right predictions and retraining pay."""

from collections.abc import Callable
from math import inf

import numpy as np
import pytest

from agentsched.core.decision import Decision
from agentsched.errors import ConfigError
from agentsched.sim.papers.drift import DRIFT
from agentsched.sim.papers.drift_router import BEFORE, SHAPES, DriftRouter, draw_task, mean_s, predicted_s
from agentsched.sim.papers.experiment import Key, Measured
from agentsched.sim.papers.serial import spread_over
from agentsched.testing import check_policy, situation


@pytest.mark.parametrize("shape", [BEFORE, *SHAPES])
def test_predictions_are_the_means_of_what_is_drawn(shape: str) -> None:
    rng = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {}
    for _ in range(6000):
        step, seconds = draw_task(rng, shape)
        drawn.setdefault(step, []).append(seconds)
    means = {step: float(np.mean(some)) for step, some in drawn.items()}
    assert means == pytest.approx(dict(predicted_s(shape)), rel=0.05)
    assert mean_s(shape) == pytest.approx(np.mean([s for some in drawn.values() for s in some]), rel=0.04)


def test_arrivals_fill_their_interval() -> None:
    times = spread_over(np.random.default_rng(1), 200, 50.0)
    assert len(times) == 200
    assert times == sorted(times)
    assert times[-1] == pytest.approx(50.0)


def _sent(router: DriftRouter, number: int, endpoint: str, step: str) -> None:
    router.remember(
        Decision(
            call_id=f"c{number}",
            run_id="r",
            attempt_id=f"c{number}.1",
            step=step,
            at=100.0,
            endpoint=endpoint,
            why="first",
            policy="drift_router",
            slack_s=None,
            p_meet=None,
            ttft_s=0.0,
            e2e_s=0.0,
            e2e_p95_s=0.0,
            output_tokens=0.0,
            score=0.0,
            waited_s=0.0,
            rivals=(),
        )
    )


@pytest.mark.parametrize(("retrain_after", "emptier"), [(0.0, 1), (inf, 0)])
def test_a_wrong_router_takes_long_tasks_for_short_ones(retrain_after: float, emptier: int) -> None:
    router, places = DriftRouter(retrain_after=retrain_after), situation({}, {})
    _sent(router, 0, places.names[0], "four-peak-3")
    _sent(router, 1, places.names[1], "four-peak-0")
    assert router.choose(places).index == emptier


def test_the_router_keeps_the_promises_of_policies() -> None:
    check_policy(DriftRouter, situations=40)


def test_its_options_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"policy\.shape"):
        DriftRouter(shape="flat")
    with pytest.raises(ConfigError, match="retrain_after"):
        DriftRouter(retrain_after=-1.0)


def test_the_drift_costs_what_retraining_saves(made: Callable[..., dict[Key, Measured]]) -> None:
    found = made(DRIFT, lambda arm: arm.key[0].startswith("queues"), 0.15)
    waits_s = {key[0].split(", ")[1]: one.mean_s.mean for key, one in found.items()}
    assert waits_s["never wrong"] < waits_s["retrained after 10"] < waits_s["never retrained"]
    assert {one.runs for one in found.values()} == {300}
