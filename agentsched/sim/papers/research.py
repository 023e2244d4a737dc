"""SwarmX: deep research on instances that do one task at a time, made to its end and judged by deadlines too."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agentsched.sim.grid import PolicyChoice
from agentsched.sim.papers.experiment import Arm, Claim, Key, Lab, Measured, Paper, Window, policy
from agentsched.sim.papers.serial import AT_ONCE, HELD, SERIAL, TOKENS_PER_S, spread_over
from agentsched.sim.streams import Stream, stream

__all__ = ["RESEARCH"]

_SOURCE = "SwarmX (abstract, captions, released harness and data; the body of the paper was not available)"

_COUNTING = (policy("random"), policy("power_of_two"), policy("round_robin"), policy("least_outstanding"))
_MIN_TIME, _PROBABILISTIC = policy("shortest_expected_completion", toll=0), policy("tail_aware")
_OURS = policy("deadline_aware")
_AT_ONCE, _HELD, _UNDATED = AT_ONCE, HELD, f"{HELD}, no deadline known"
_MIN_TIME_KEY, _PROBABILISTIC_KEY = (_MIN_TIME.label, _HELD), (_PROBABILISTIC.label, _HELD)


@dataclass(frozen=True, slots=True)
class _Variant:
    """One of the published runs.

    Attributes:
        name, title: of the paper's entry.
        workflows, rate: how many come, per second.
        widths: least and most searches of one workflow.
        even: whether all gaps are equal; otherwise arrivals are Poisson.
        deadline_s: what a workflow is given; ours.
        instances: of the large and of the small model.
        counted: the first and the last workflow, by arrival, that counts; None: all do.
        rules: those that do not wait at the client, and those that do.
        figures: what was measured of each arm: name, unit, and what it is here.
        published: arm -> those figures; None: not told.
        origin: whose figures they are.
        assumed: what is special about it.
    """

    name: str
    title: str
    workflows: int
    rate: float
    widths: tuple[int, int]
    deadline_s: float
    even: bool = False
    instances: tuple[int, int] = (48, 48)
    counted: tuple[int, int] | None = None
    rules: tuple[tuple[PolicyChoice, ...], tuple[PolicyChoice, ...]] = (_COUNTING, (_MIN_TIME, _PROBABILISTIC, _OURS))
    figures: tuple[tuple[str, Callable[[Measured], float]], ...] = ()
    published: Mapping[Key, tuple[float | None, ...]] = field(default_factory=dict)
    origin: str = _SOURCE
    assumed: tuple[str, ...] = ()


def _mixture(rng: np.random.Generator, share: float, first: tuple[float, float], second: tuple[float, float]) -> float:
    median, sigma = first if float(rng.uniform()) < share else second
    return median * float(rng.lognormal(0.0, sigma))


def _boot_s(rng: np.random.Generator) -> float:
    return _mixture(rng, 0.65, (20.0, 0.3), (80.0, 0.3))


def _search_s(rng: np.random.Generator) -> float:
    return 3.32 * float(rng.lognormal(0.0, 0.687))


def _merge_s(rng: np.random.Generator) -> float:
    return _mixture(rng, 0.8, (108.0, 0.09), (34.0, 0.28))


def _rows(variant: _Variant, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """boot -> n searches -> n reads, one to one -> merge; boot and merge on the large model, the rest on the small."""
    rng, arrivals = stream(seed, Stream.SHAPES), stream(seed, Stream.ARRIVALS)
    if variant.even:
        times = [k / variant.rate for k in range(count)]
    else:
        times = spread_over(arrivals, count, count / variant.rate)
    for k, at in enumerate(times):
        width = int(rng.integers(variant.widths[0], variant.widths[1] + 1))
        calls: list[tuple[str, str, float, list[int]]] = [("boot", "large", _boot_s(rng), [])]
        calls += [("search", "small", _search_s(rng), [0]) for _ in range(width)]
        calls += [("read", "small", _search_s(rng), [1 + branch]) for branch in range(width)]
        calls.append(("merge", "large", _merge_s(rng), list(range(1 + width, 1 + 2 * width))))
        for index, (step, model, seconds, parents) in enumerate(calls):
            yield {
                "run_id": f"r{k}",
                "workflow": "deep research",
                "arrival_s": at,
                "call_index": index,
                "step": step,
                "model": model,
                "parents": parents,
                "tool_s": 0.0,
                "input_tokens": 1,
                "output_tokens": max(1, round(seconds * TOKENS_PER_S)),
            }


def _arms_of(variant: _Variant) -> Callable[[Lab], list[Arm]]:
    def arms(lab: Lab) -> list[Arm]:
        count = max(24, round(variant.workflows * lab.scale))
        traces = {seed: lab.trace(f"{variant.name}-{seed}", _rows(variant, count, seed)) for seed in lab.seeds}
        first, last = variant.counted or (0, variant.workflows)
        per_s = lab.scale / variant.rate
        windows = (Window("", first * per_s, last * per_s),) if variant.counted else ()

        def scenario(most: int, deadline_s: float | None) -> Callable[[int], dict[str, Any]]:
            return lambda seed: {
                "name": f"{variant.name}-{most}",
                "load": variant.rate,
                "duration": count / variant.rate + 1e-6,
                "network": 0.001,
                "stream": False,
                "endpoints": [
                    {"name": name, "count": many, "profile": SERIAL, "max_concurrency": most, "models": [name]}
                    for name, many in zip(("large", "small"), variant.instances, strict=True)
                ],
                "workload": {"trace": traces[seed], "arrivals": traces[seed], "in_order": True},
                "outputs": {"least": 1, "most": 100_000},
                "prompts": {"most": 100},
                "deadlines": None
                if deadline_s is None
                else {"multiples": [{"times": 1e-9, "share": 1.0}], "plus": deadline_s},
            }

        def made(choices: tuple[PolicyChoice, ...], sent: str, most: int, deadline_s: float | None) -> list[Arm]:
            return [lab.arm((one.label, sent), scenario(most, deadline_s), one, windows=windows) for one in choices]

        counting, holding = variant.rules
        within_s = variant.deadline_s
        return [
            *made(counting, _AT_ONCE, 10_000, within_s),
            *made(holding, _HELD, 1, within_s),
            *made((_OURS,), _UNDATED, 1, None),
        ]

    return arms


def _claims_of(variant: _Variant) -> Callable[[Mapping[Key, Measured]], list[Claim]]:
    def claims(found: Mapping[Key, Measured]) -> list[Claim]:
        made = []
        for key, figures in variant.published.items():
            for (what, here), figure in zip(variant.figures, figures, strict=True):
                if figure is not None:
                    made.append(Claim(f"{key[0]}: {what}", figure, here(found[key]), "s"))
        counting = [found[choice.label, _AT_ONCE] for choice in variant.rules[0]]
        for sent in (_HELD, _UNDATED):
            ours = found[_OURS.label, sent]
            best_s = min(one.last_s.mean for one in counting)
            claim = Claim(
                f"ours, {sent}: all finished, over the best rule that counts", None, ours.last_s.mean / best_s
            )
            made.append(claim)
        others = [one for key, one in found.items() if key[0] != _OURS.label]
        gained = found[_OURS.label, _HELD].attainment.mean - max(one.attainment.mean for one in others)
        what = f"ours: within {variant.deadline_s:g} s, on the best of the others"
        return [*made, Claim(what, None, 100.0 * gained, "points", "no deadline was published")]

    return claims


_FINISHED: tuple[tuple[str, Callable[[Measured], float]], ...] = (
    ("95 % of the workflows finished after", lambda one: one.finish_p95_s.mean),
    ("all finished after", lambda one: one.last_s.mean),
)
_PERCENTILES: tuple[tuple[str, Callable[[Measured], float]], ...] = (
    ("P50", lambda one: one.p50_s.mean),
    ("P95", lambda one: one.p95_s.mean),
    ("P99", lambda one: one.p99_s.mean),
)
_MEAN_P95: tuple[tuple[str, Callable[[Measured], float]], ...] = (
    ("mean", lambda one: one.mean_s.mean),
    ("P95", lambda one: one.p95_s.mean),
)

_VARIANTS = (
    _Variant(
        name="deep-research",
        title="240 deep-research workflows on 48 large and 48 small single-task instances, 3.3 times what they can do",
        workflows=240,
        rate=1.16,
        widths=(5, 15),
        deadline_s=600.0,
        figures=_FINISHED,
        published={
            ("random", _AT_ONCE): (1040.0, 1248.0),
            ("power_of_two", _AT_ONCE): (779.0, 836.0),
            ("round_robin", _AT_ONCE): (735.0, 775.0),
            _MIN_TIME_KEY: (801.0, 912.0),
            _PROBABILISTIC_KEY: (663.0, 687.0),
        },
        assumed=("the authors counted 216 of 240 merges for probabilistic; here all runs end",),
    ),
    _Variant(
        name="deep-research-h20",
        title="200 wider workflows, as run on H20 GPUs under SGLang: the latency of the 100 after the first 20",
        workflows=200,
        rate=1.08,
        widths=(7, 20),
        deadline_s=800.0,
        counted=(20, 120),
        figures=_PERCENTILES,
        published={
            _PROBABILISTIC_KEY: (630.0, 899.0, 945.0),
            _MIN_TIME_KEY: (602.0, 971.0, 1039.0),
            ("power_of_two", _AT_ONCE): (661.0, 977.0, 1032.0),
            ("round_robin", _AT_ONCE): (630.0, 985.0, 1236.0),
            ("random", _AT_ONCE): (731.0, 1327.0, 1607.0),
        },
        assumed=(
            "theirs ran on H20 GPUs that batch; here on 48 + 48 single-task instances with the service times of their "
            "simulated services, so that the order of the rules may be compared, not the seconds",
            "7 to 20 searches (mean 13.5, as told); 100 workflows by arrival count, theirs by completion",
        ),
    ),
    _Variant(
        name="deep-research-long",
        title="960 workflows, one a second: the latency of 400 after the first 160",
        workflows=960,
        rate=1.0,
        widths=(5, 15),
        deadline_s=1000.0,
        even=True,
        instances=(60, 60),
        counted=(160, 560),
        rules=(_COUNTING, (_OURS,)),
        figures=_MEAN_P95,
        published={
            ("round_robin", _AT_ONCE): (949.0, 1320.0),
            ("power_of_two", _AT_ONCE): (969.0, 1386.0),
            ("random", _AT_ONCE): (1039.0, 1529.0),
        },
        assumed=(
            "60 + 60 instances: their number is not public; 400 workflows by arrival count, theirs by completion, so "
            "that slow ones are missing from their means",
            "their min-time (929, 1183 s) and probabilistic (908, 1157 s) have no arm here: where thousands of tasks "
            "wait at the client, what is left to choose is which instance is free",
        ),
    ),
    _Variant(
        name="deep-research-feasible",
        title="600 workflows at a load that 48 + 48 instances can carry",
        workflows=600,
        rate=0.28,
        widths=(5, 15),
        deadline_s=300.0,
        figures=(("P95", lambda one: one.p95_s.mean),),
        published={
            ("random", _AT_ONCE): (724.0,),
            ("power_of_two", _AT_ONCE): (391.0,),
            ("round_robin", _AT_ONCE): (309.0,),
            ("least_outstanding", _AT_ONCE): (230.0,),
        },
        origin="the SwarmX workload at another load; the figures are those of an independent study, not the authors'",
    ),
)


def _paper(variant: _Variant) -> Paper:
    return Paper(
        name=variant.name,
        title=variant.title,
        source=variant.origin,
        columns=("policy", "sent"),
        assumed=(
            *variant.assumed,
            "service times are mixtures fitted to the published percentiles; whoever forecasts them errs by 60 %",
            "min-time is shortest expected completion without a toll, probabilistic is the tail-aware rule",
            f"sent {_AT_ONCE}: the router commits a task to an instance when it arrives, as theirs does. Our forecasts "
            f"are of instances that batch, so rules that need them are told the one slot and send {_HELD}, the oldest "
            "workflow first; where all tasks wait at the client, little is left to choose",
            f"in time: within {variant.deadline_s:g} s, the same for all; nothing was published about deadlines",
        ),
        arms=_arms_of(variant),
        claims=_claims_of(variant),
    )


RESEARCH = tuple(_paper(variant) for variant in _VARIANTS)
