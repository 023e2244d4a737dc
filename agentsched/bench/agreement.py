"""Does the simulator tell the truth? The same scenario, seed and policy simulated, and live on emulated endpoints."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from agentsched import clock
from agentsched.bench.live_runs import LiveRuns
from agentsched.bench.starvation import longest_wait_s, waits_for_cores_s
from agentsched.core.endpoint import Pool
from agentsched.emulator.calls import LENGTH_HEADER
from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig
from agentsched.emulator.process import start_pool
from agentsched.engine.profile import DisaggregatedProfile, HostedProfile
from agentsched.errors import ConfigError
from agentsched.policy.table import make_policy
from agentsched.runtime import Runtime
from agentsched.settings import PolicySettings, Settings
from agentsched.sim.agent import Manners
from agentsched.sim.averages import averages_of
from agentsched.sim.grid import PolicyChoice
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.plan import MODEL, RunPlan
from agentsched.sim.pool import client_pool
from agentsched.sim.replay.figures import Ended, Figures, figures_of, simulated_ends
from agentsched.sim.scenario import Scenario
from agentsched.sim.simulation import Setup, Simulation
from agentsched.sim.stretching import fastest_tpot_s, stretched
from agentsched.sim.workload import draw_runs

__all__ = [
    "ATTAINMENT_POINTS",
    "MOST_STARVED",
    "P95_SHARE",
    "Agreement",
    "agree",
    "number_of_runs",
    "prepared",
    "stretch_for",
]

ATTAINMENT_POINTS = 3.0
"""The bar: live and simulated attainment differ by no more, percentage points."""

P95_SHARE = 0.10
"""The bar: nor do their 95th percentiles of latency, as a share of the live one."""

MOST_STARVED = 0.02
"""Waiting for a core for more than this share of the time makes every live latency longer: then nothing is proven."""

_LEAST_TPOT_S = 0.030
"""Streams faster than this keep two cores busy with HTTP, and what is measured is the machine."""

_NETWORK_S = 0.001
"""Each way over the loopback interface, both processes included; what the simulation takes for it."""

_PROGRESS_S = 0.1
"""As live."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One policy, live and simulated, on the same runs.

    Attributes:
        runs: that count, over all seeds.
        live, simulated: what they came to.
        same_verdict: share of the runs that met their deadline, or missed it, in both; None without deadlines.
        pacing_p99_s: how late emulated tokens were written at the 99th percentile, the worst seed, seconds.
        lag_p99_s: how late the client's event loop was, likewise.
        starved_share: share of the time for which a thread of the client or of the pool was ready to run but had no
            core, the worst thread and seed; 0 where the system keeps no account of it.
    """

    policy: str
    seeds: tuple[int, ...]
    runs: int
    live: Figures
    simulated: Figures
    same_verdict: float | None
    pacing_p99_s: float
    lag_p99_s: float
    starved_share: float

    @property
    def attainment_points(self) -> float | None:
        """Live minus simulated attainment, percentage points."""
        one, other = self.live.attainment, self.simulated.attainment
        return None if one is None or other is None else 100.0 * (one - other)

    @property
    def p95_share(self) -> float | None:
        """(live - simulated) / live of the 95th percentile of latency."""
        one, other = self.live.latency_p95_s, self.simulated.latency_p95_s
        return None if one is None or other is None else (one - other) / one

    @property
    def within(self) -> bool:
        """Whether both bars are met."""
        points, share = self.attainment_points, self.p95_share
        return (points is None or abs(points) <= ATTAINMENT_POINTS) and (share is None or abs(share) <= P95_SHARE)

    @property
    def starved(self) -> bool:
        """Whether other work on the machine held up the live side, of which the simulation knows nothing."""
        return self.starved_share > MOST_STARVED

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            **asdict(self),
            "attainment_points": self.attainment_points,
            "p95_share": self.p95_share,
            "within": self.within,
            "starved": self.starved,
        }


def stretch_for(scenario: Scenario) -> float:
    """How many times slower the scenario has to be for its fastest stream not to be too fast for two cores."""
    return max(1.0, _LEAST_TPOT_S / fastest_tpot_s(scenario))


def prepared(scenario: Scenario, *, stretch: float, runs: int, load: float | None) -> Scenario:
    """The scenario as both sides make it: stretched, over the loopback interface, long enough for about so many runs.

    Raises:
        ConfigError: it cannot be stretched, or cannot be emulated.
    """
    for group in scenario.endpoints:
        if isinstance(group.engine, DisaggregatedProfile):
            raise ConfigError("a disaggregated endpoint cannot be emulated", field=f"endpoint {group.name!r}.profile")
    if load is not None:
        scenario = scenario.model_copy(update={"load": load})
    slow = stretched(scenario, stretch)
    endpoints = [group.model_copy(update={"network": None}) for group in slow.endpoints]
    duration_s = runs / (1.0 - slow.warm_up) / slow.load
    changed = {"endpoints": endpoints, "network": _NETWORK_S, "progress": _PROGRESS_S, "duration": duration_s}
    return slow.model_copy(update=changed)


def agree(
    scenario: Scenario, policy: PolicyChoice, seeds: Sequence[int], *, ended: Callable[[], None] = lambda: None
) -> Agreement:
    """Simulate a prepared scenario, and make the same runs in real time.

    Args:
        scenario: see `prepared`.
        policy: places the calls, on both sides; forecasts are learned on both sides, from nothing.
        seeds: one after another.
        ended: called at the end of each live run.

    Raises:
        ConfigError: the emulated pool could not be started.
        InvariantViolated: books contradict themselves: a bug in agentsched.
    """
    live: list[Ended] = []
    simulated: list[Ended] = []
    made: list[_Live] = []
    for seed in seeds:
        one = _Once(scenario, policy, seed)
        simulated += one.simulated()
        made.append(one.live(ended))
        live += made[-1].ends
    judged = [(a.met, b.met) for a, b in zip(live, simulated, strict=True) if a.met is not None]
    return Agreement(
        policy=policy.label,
        seeds=tuple(seeds),
        runs=len(live),
        live=figures_of(live),
        simulated=figures_of(simulated),
        same_verdict=sum(a == b for a, b in judged) / len(judged) if judged else None,
        pacing_p99_s=max(one.pacing_p99_s for one in made),
        lag_p99_s=max(one.lag_p99_s for one in made),
        starved_share=max(one.starved_share for one in made),
    )


@dataclass(frozen=True, slots=True)
class _Live:
    """What came of one seed in real time."""

    ends: list[Ended]
    pacing_p99_s: float
    lag_p99_s: float
    starved_share: float


class _Once:
    """One seed."""

    def __init__(self, scenario: Scenario, policy: PolicyChoice, seed: int) -> None:
        self._scenario, self._policy, self._seed = scenario, policy, seed
        self._averages = averages_of(scenario)
        self._runs = draw_runs(
            scenario, seed, load=None, duration_s=scenario.duration, clients=1, mean_ideals_s=self._averages.ideal_s
        )
        self._simulation = Simulation(
            scenario,
            lambda: make_policy(policy.name, dict(policy.options)),
            Setup(seed=seed, knowledge=Knowledge.LEARNED),
            self._averages,
        )

    def _counted(self, ends: Sequence[Ended]) -> list[Ended]:
        from_s = self._scenario.warm_up * self._scenario.duration
        return [end for plan, end in zip(self._runs, ends, strict=True) if plan.arrival_s >= from_s]

    def simulated(self) -> list[Ended]:
        """How the runs end on virtual time."""
        self._simulation.run(self._runs)
        return self._counted(simulated_ends(self._simulation.results))

    def live(self, ended: Callable[[], None]) -> _Live:
        """How they end in earnest, with the faults of the simulation; and how late tokens and the event loop were."""
        faults = {name: server.befallen for name, server in self._simulation.servers.items()}
        scenario = self._scenario
        cut_late = scenario.deadlines is not None and scenario.deadlines.on_late == "raise"
        quality: dict[str, float] = {}
        manners = Manners(scenario.stream, cut_late, scenario.call_retries, quality, scenario.continuation)
        with start_pool(_emulated(scenario, self._seed)) as pool:
            believed = client_pool(scenario, self._seed, mean_context_tokens=self._averages.context_tokens)
            endpoints = [replace(one, base_url=pool.url(one.name)) for one in believed.endpoints]
            policy = PolicySettings(self._policy.name, dict(self._policy.options))
            runtime = Runtime(Settings(Pool(endpoints, believed.groups), policy=policy))
            began, waits = clock.monotonic(), [waits_for_cores_s(pid) for pid in (None, pool.pid)]
            try:
                made = LiveRuns(runtime, manners, LENGTH_HEADER, lambda index: ended())
                ends = asyncio.run(made.make(self._runs, faults, pool.control))
            finally:
                runtime.close()
            waited = [longest_wait_s(w, waits_for_cores_s(pid)) for w, pid in zip(waits, (None, pool.pid), strict=True)]
            starved_share = max(waited) / (clock.monotonic() - began)
            late_s = float(pool.control.pacing()["all"]["p99_s"])
        return _Live(self._counted(ends), late_s, float(np.quantile(made.lag_s, 0.99)), starved_share)


def _emulated(scenario: Scenario, seed: int) -> EmulatorConfig:
    profiles = [(name, group.engine) for group in scenario.endpoints for name in group.names]
    return EmulatorConfig.of(
        [
            EmulatedEndpoint(
                name=name,
                profile=profile,
                model=MODEL,
                kind="openai" if isinstance(profile, HostedProfile) else "vllm",
                seed=seed + number,
            )
            for number, (name, profile) in enumerate(profiles)
        ]
    )


def number_of_runs(scenario: Scenario, seeds: Sequence[int]) -> int:
    """How many runs a prepared scenario has, warm-up included, over these seeds."""
    mean_ideals_s = averages_of(scenario).ideal_s
    drawn: list[list[RunPlan]] = [
        draw_runs(scenario, seed, load=None, duration_s=scenario.duration, clients=1, mean_ideals_s=mean_ideals_s)
        for seed in seeds
    ]
    return sum(map(len, drawn))
