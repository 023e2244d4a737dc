"""A one-slot instance is a queue with one server: compared with what theory says of it."""

import numpy as np
import pytest

from agentsched.sim.ideal import unloaded_s
from agentsched.sim.scenario_files import load_scenario
from tests.sim.conftest import FAST, a_call, a_run, play

PROFILE = {**FAST, "max_slots": 1}


def served(load: float, count: int, sigma: float):
    """Waiting times of single-call runs at one slot, and what they were made of."""
    rng = np.random.default_rng(11)
    scenario = load_scenario(
        {
            "version": 1,
            "name": "queue",
            "load": 1,
            "duration": 1,
            "endpoints": [{"name": "one", "profile": PROFILE, "max_concurrency": 10**6}],
            "workflows": [
                {
                    "name": "single",
                    "share": 1,
                    "stages": [{"step": "x", "prompt": 300, "output": {"median": 90, "sigma": 0.5}}],
                }
            ],
        }
    )
    lengths = np.maximum(4, np.rint(60 * np.exp(sigma * rng.standard_normal(count)))).astype(int)
    at = np.cumsum(rng.exponential(1 / load, count))
    runs = [
        a_run(a_call(int(n)), index=k, arrival_s=float(t)) for k, (n, t) in enumerate(zip(lengths, at, strict=True))
    ]
    services = np.array([unloaded_s(scenario.endpoints[0].engine, 100, int(n)) for n in lengths])
    latencies = np.array([result.latency_s for result in play(scenario, runs).results])
    return at, services, latencies - 0.02 - services


def test_each_wait_is_that_of_lindley_s_recursion():
    at, services, waits = served(load=0.95, count=600, sigma=0.7)
    expected, wait = [], 0.0
    for k in range(at.size):
        wait = 0.0 if k == 0 else max(0.0, wait + services[k - 1] - (at[k] - at[k - 1]))
        expected.append(wait)
    assert waits == pytest.approx(expected, abs=1e-6)
    assert max(expected) > 1.0


def test_the_mean_wait_is_that_of_pollaczek_and_khinchine():
    load = 0.8
    _, services, waits = served(load, count=3000, sigma=0.0)
    rho = load * services.mean()
    assert 0.45 < rho < 0.55
    expected = load * (services**2).mean() / (2 * (1 - rho))
    assert waits.mean() == pytest.approx(expected, rel=0.2)
