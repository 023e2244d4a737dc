"""SwarmX: how a pool gets over a drift that turns the predictions of service times the wrong way round."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from agentsched.sim.grid import PolicyChoice
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.papers.drift_router import BEFORE, draw_task, mean_s
from agentsched.sim.papers.experiment import Arm, Claim, Key, Lab, Measured, Paper, Window, policy
from agentsched.sim.papers.serial import AT_ONCE, HELD, SERIAL, TOKENS_PER_S, spread_over
from agentsched.sim.streams import Stream, stream

__all__ = ["DRIFT", "DRIFT_512"]

_SOURCE = "SwarmX (captions, released harness type5_ood_recovery and its stored run; the body was not available)"
_ROUTER = "agentsched.sim.papers.drift_router.DriftRouter"
_NEVER, _SOON, _LATER, _RIGHT = "never retrained", "retrained after 10", "retrained after 250", "never wrong"
_COMPLETIONS = {_NEVER: inf, _SOON: 10.0, _LATER: 250.0, _RIGHT: 0.0}
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class _Size:
    """Instances, tasks and rates (per second) of an experiment; times are scaled from those of 48 instances."""

    name: str
    instances: int
    tasks: int
    before_rate: float
    rate: float
    shape: str
    scale: float
    published: Mapping[str, tuple[float, ...]]


_SMALL = _Size(
    "drift-recovery",
    48,
    2000,
    10.0,
    2.96,
    "four-peak",
    1.0,
    {_NEVER: (2.12, 2.02, 147.0, 232.2), _SOON: (2.60, 2.50, 105.8, 121.9)},
)
_LARGE = _Size("drift-recovery-512", 512, 10_000, 180.0, 180.0, "weighted", 0.1, {_NEVER: (62.9,), _SOON: (74.3,)})


def _tasks(size: _Size, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """A tenth of the tasks before the drift, the rest after it."""
    rng, arrivals = stream(seed, Stream.SHAPES), stream(seed, Stream.ARRIVALS)
    early = count // 10
    times = spread_over(arrivals, early, early / size.before_rate)
    times += [early / size.before_rate + at for at in spread_over(arrivals, count - early, (count - early) / size.rate)]
    for k, at in enumerate(times):
        step, seconds = draw_task(rng, BEFORE if k < early else size.shape)
        yield {
            "run_id": f"r{k}",
            "workflow": "task",
            "arrival_s": at,
            "step": step,
            "input_tokens": 1,
            "output_tokens": max(1, round(seconds * size.scale * TOKENS_PER_S)),
        }


def _seconds(size: _Size, count: int) -> float:
    early = count // 10
    return early / size.before_rate + (count - early) / size.rate


def _capacity(size: _Size) -> float:
    """Tasks per second that the instances can do after the drift."""
    return size.instances / (size.scale * mean_s(size.shape))


def _router(size: _Size, predictor: str) -> PolicyChoice:
    router = policy(_ROUTER, shape=size.shape, retrain_after=_COMPLETIONS[predictor], scale=size.scale)
    return replace(router, shown=f"queues by prediction, {predictor}")


def _arms_of(size: _Size, held: tuple[PolicyChoice, ...]) -> Callable[[Lab], list[Arm]]:
    def arms(lab: Lab) -> list[Arm]:
        count = max(100, round(size.tasks * lab.scale))
        traces = {seed: lab.trace(f"{size.name}-{seed}", _tasks(size, count, seed)) for seed in lab.seeds}
        windows = (Window("", 0.0, _seconds(size, count) + 1.0, within_s=_PATIENCE * size.scale * mean_s(size.shape)),)

        def scenario(most: int) -> Callable[[int], dict[str, Any]]:
            return lambda seed: {
                "name": f"{size.name}-{most}",
                "load": size.rate,
                "duration": _seconds(size, count),
                "network": 0.0015,
                "stream": False,
                "endpoints": [{"name": "one", "count": size.instances, "profile": SERIAL, "max_concurrency": most}],
                "workload": {"trace": traces[seed], "arrivals": traces[seed], "in_order": True},
                "outputs": {"least": 1, "most": 100_000},
                "prompts": {"most": 100},
            }

        counting = (policy("random"), policy("round_robin"), policy("least_outstanding"))
        routers = tuple(_router(size, predictor) for predictor in _COMPLETIONS)
        sent = [(AT_ONCE, choice, Knowledge.STUDY) for choice in (*counting, *routers)]
        sent += [(HELD, choice, Knowledge.LEARNED) for choice in held]
        made = []
        for how, choice, knowledge in sent:
            most = 1 if how == HELD else 100_000
            made.append(lab.arm((choice.label, how), scenario(most), choice, knowledge=knowledge, windows=windows))
        return made

    return arms


def _rate(one: Measured) -> float:
    return one.runs / one.last_s.count / one.last_s.mean


def _claims_of(size: _Size, ours: Key | None) -> Callable[[Mapping[Key, Measured]], list[Claim]]:
    def at(found: Mapping[Key, Measured], predictor: str) -> Measured:
        return found[_router(size, predictor).label, AT_ONCE]

    def claims(found: Mapping[Key, Measured]) -> list[Claim]:
        made = []
        for predictor, (rate, *stored) in size.published.items():
            one = at(found, predictor)
            made.append(Claim(f"{predictor}: tasks per second until all are done", rate, _rate(one), "/s"))
            if stored:
                made.append(Claim(f"{predictor}: the same, stored run", stored[0], _rate(one), "/s"))
                made.append(Claim(f"{predictor}: P95, stored run", stored[1], one.p95_s.mean, "s"))
                made.append(Claim(f"{predictor}: P99, stored run", stored[2], one.p99_s.mean, "s"))
        never, soon = (_rate(at(found, predictor)) for predictor in (_NEVER, _SOON))
        gain = 100.0 * (size.published[_SOON][0] / size.published[_NEVER][0] - 1.0)
        remark = "found by their search for the largest gain"
        made.append(Claim("gained by retraining", gain, 100.0 * (soon / never - 1.0), "%", remark))
        if ours is None:
            return made
        mine = found[ours]
        for predictor in (_NEVER, _SOON):
            ratio = _rate(mine) / _rate(at(found, predictor))
            made.append(Claim(f"ours, over {predictor}: tasks per second", None, ratio, "x", "no prediction is needed"))
        p99 = mine.p99_s.mean / at(found, _SOON).p99_s.mean
        made.append(Claim(f"ours, over {_SOON}: P99", None, p99, "x"))
        return made

    return claims


def _assumed(size: _Size) -> tuple[str, ...]:
    return (
        "service times: lognormal peaks at 10 and 40 s (sigma .3), fitted to the published percentiles of the large "
        "model's runs, times .5, and to the split at 20 s",
        "after the drift 20 % of the tasks are short and 80 % long: with these shares the pool can do "
        f"{_capacity(size):.3g} tasks per second, close to what was published for the retrained arm",
        "arrivals are Poisson, a tenth of the tasks come before the drift; instances take their tasks in order",
        "an instance's queue is the sum of the mean predictions of its tasks; a wrong prediction is that of the "
        "mirrored peak; one retraining puts all right",
        f"in time: within {_PATIENCE:g} mean service times after the drift; no rule is told of it",
    )


_OURS = policy("deadline_aware")
_OURS_SENDS = (
    f"ours knows the one slot and sends {HELD}, longest wait first, with forecasts learned from nothing: which "
    "instance is free needs no prediction, so there is little for a drift to turn round"
)
_NOT_OURS = (
    f"no arm of ours: sent {HELD}, thousands of tasks would wait at the client, and the time that it takes to look at "
    "them again and again is not what this is about"
)

DRIFT = Paper(
    name=_SMALL.name,
    title="Predictions turned the wrong way round: 2,000 tasks on 48 single-task instances",
    source=_SOURCE,
    columns=("policy", "sent"),
    assumed=(*_assumed(_SMALL), _OURS_SENDS),
    arms=_arms_of(_SMALL, (policy("least_outstanding"), _OURS)),
    claims=_claims_of(_SMALL, (_OURS.label, HELD)),
)

DRIFT_512 = Paper(
    name=_LARGE.name,
    title="The same with 10,000 tasks on 512 instances",
    source=_SOURCE,
    columns=("policy", "sent"),
    assumed=(*_assumed(_LARGE), _NOT_OURS),
    arms=_arms_of(_LARGE, ()),
    claims=_claims_of(_LARGE, None),
)
