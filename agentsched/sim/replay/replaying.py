"""Recorded runs, made again on the pool of an ordinary configuration, with the scheduler that runs live."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agentsched.core.endpoint import Group, Pool
from agentsched.core.protocols import Policy
from agentsched.engine.profile import HostedProfile
from agentsched.errors import ConfigError
from agentsched.scheduler.scheduler import Scheduler
from agentsched.settings import Settings
from agentsched.sim.agent import Manners
from agentsched.sim.arrivals import arrival_times
from agentsched.sim.client import Client
from agentsched.sim.course import Course
from agentsched.sim.ideal import IdealTimes, Offer
from agentsched.sim.knowledge import Book
from agentsched.sim.learning import KNOWN_AT_FIRST, Learner
from agentsched.sim.outcome import RunResult
from agentsched.sim.plan import MODEL, RunPlan
from agentsched.sim.pool import serving_model
from agentsched.sim.replay.engines import Latencies, SimulatedEndpoint, simulated_endpoint
from agentsched.sim.server import Server
from agentsched.sim.streams import Stream, stream
from agentsched.sim.timeline import Timeline
from agentsched.sim.traces.drawing import Fitting, drawn_again
from agentsched.sim.traces.recorded import Recording
from agentsched.sim.workload_format import Arrivals

__all__ = ["Circumstances", "Replay"]

_UNLIMITED = 10**9
_PROGRESS_S = 0.1
"""Clients are told of tokens this often, as live, seconds."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is made different from how it was recorded.

    Attributes:
        load: runs come this many times as often.
        rate: runs per second, Poisson, in place of the recorded arrivals; None: as recorded.
        deadline_s: of every run; None: as recorded.
        cut_late: whether runs are cut at their deadline; otherwise they go on, and show how late they would be.
        clients: processes that share the runs at random, each with a scheduler of its own.
        network_s: seconds each way to endpoints on named hardware.

    Raises:
        ConfigError: a value is out of range.
    """

    load: float = 1.0
    rate: float | None = None
    deadline_s: float | None = None
    cut_late: bool = False
    clients: int = 1
    network_s: float = 0.01

    def __post_init__(self) -> None:
        for name in ("load", "rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e9:
                raise ConfigError("out of range", field=f"--{name}", given=value, allowed="more than 0")


class Replay:
    """Makes recorded runs again, with any policy.

    Args:
        recording: the runs.
        settings: the configuration whose pool, rules and groups are used; nothing is sent to its endpoints.
        latencies: of endpoints in the log, by name; they stand for hosted endpoints of the pool with the same name.
        circumstances: what is different.

    Attributes:
        endpoints: what stands for the pool's endpoints.
        assumed: what had to be assumed beyond the recording's own gaps, in words -> how often.

    Raises:
        ConfigError: no run tells when it arrived, and no rate is given.
    """

    def __init__(
        self,
        recording: Recording,
        settings: Settings,
        latencies: Mapping[str, Latencies],
        circumstances: Circumstances,
    ) -> None:
        self._settings, self._how = settings, circumstances
        self._runs = [run for run in recording.runs if circumstances.rate is not None or run.arrival_s is not None]
        if not self._runs:
            raise ConfigError(
                "no run tells when it arrived", field="arrival_s", allowed="or a --rate of runs per second"
            )
        pool = settings.pool
        self.endpoints = [
            simulated_endpoint(one, settings.hardware.get(one.name), latencies, circumstances.network_s)
            for one in pool.endpoints
        ]
        unserved = {
            call.model for run in self._runs for call in run.calls if call.model and not pool.serving(call.model)
        }
        self._unserved = frozenset(unserved)
        everybody = Group(tuple(one.name for one in pool.endpoints))
        self._pool = Pool(pool.endpoints, {**pool.groups, MODEL: everybody})
        self._ideal = IdealTimes([Offer(one.profile, 1.0, one.network_s) for one in self.endpoints])
        self.assumed = self._assumptions(recording)

    def _assumptions(self, recording: Recording) -> dict[str, int]:
        calls = [call for run in self._runs for call in run.calls]
        other = sum(call.model in self._unserved for call in calls)
        names = ", ".join(sorted(self._unserved)[:3])
        made = {
            "runs without an arrival, left out": len(recording.runs) - len(self._runs),
            f"calls of models that the pool does not name ({names}): any endpoint may serve them": other,
            "calls that name no model: any endpoint may serve them": sum(call.model is None for call in calls),
            "endpoints on named hardware: network assumed": sum(one.network_s > 0.0 for one in self.endpoints),
        }
        return {text: count for text, count in made.items() if count}

    def run(self, make_policy: Callable[[], Policy], seed: int) -> list[RunResult]:
        """Make all runs again, and answer how each ended, by arrival.

        Args:
            make_policy: makes the policy of one client.
            seed: of hosted latencies and of which client makes which run.

        Raises:
            InvariantViolated: books contradict themselves: a bug in agentsched.
        """
        timeline, book = Timeline(), Book()
        servers = {one.name: _server(one, timeline, seed, number) for number, one in enumerate(self.endpoints)}
        clients = [
            Client(
                Scheduler(self._pool, make_policy(), *KNOWN_AT_FIRST, self._settings.rules),
                servers,
                timeline,
                learner=Learner.as_live(),
            )
            for _ in range(self._how.clients)
        ]
        quality = {endpoint.name: endpoint.quality for endpoint in self._pool.endpoints}
        # A call that was given up is not made again: what agents did then is in the record, as calls of their own.
        manners = Manners(streams=True, cut_late=self._how.cut_late, call_retries=0, quality=quality, continuable=True)
        course = Course(timeline, servers, clients, book, manners)
        course.run(self._plans(seed))
        return course.results

    def _plans(self, seed: int) -> list[RunPlan]:
        noise = stream(seed, Stream.PREDICTIONS)
        fitting = Fitting(
            most_input_tokens=_UNLIMITED,
            least_output_tokens=1,
            most_output_tokens=_UNLIMITED,
            wait_s=lambda: 0.0,
            min_quality=lambda: 0.0,
            noise=lambda: float(noise.standard_normal()),
            model=lambda name: MODEL if name is None or name in self._unserved else name,
        )
        homes = stream(seed, Stream.CLIENTS).integers(0, self._how.clients, len(self._runs))
        times = self._times(seed)
        plans = []
        for index, (run, at) in enumerate(zip(self._runs, times, strict=True)):
            drawn = drawn_again(run, self._ideal, fitting)
            deadline_s = run.deadline_s if self._how.deadline_s is None else self._how.deadline_s
            plans.append(drawn.plan(index=index, client=int(homes[index]), arrival_s=at, deadline_s=deadline_s))
        return plans

    def _times(self, seed: int) -> Sequence[float]:
        rate = self._how.rate
        if rate is None:
            recorded = [run.arrival_s or 0.0 for run in self._runs]
            return [(at - recorded[0]) / self._how.load for at in recorded]
        count, rng = len(self._runs), stream(seed, Stream.ARRIVALS)
        times: list[float] = []
        while len(times) < count:
            start = times[-1] if times else 0.0
            times += [start + at for at in arrival_times(Arrivals(), rate * self._how.load, count / rate, rng)]
        return times[:count]


def _server(one: SimulatedEndpoint, timeline: Timeline, seed: int, number: int) -> Server:
    profile = one.profile
    return Server(
        one.name,
        serving_model(profile, seed, number),
        timeline,
        network_s=one.network_s,
        progress_s=_PROGRESS_S,
        block_tokens=None if isinstance(profile, HostedProfile) else profile.block_tokens,
    )
