"""What can be known of a scenario without running it: mean ideals, mean contexts, how much follows each step."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agentsched.core.optional import step_of_visit
from agentsched.core.remainder import RemainderForecast
from agentsched.sim.rests import last_calls, rests_of, typical_rest
from agentsched.sim.scenario import Scenario
from agentsched.sim.streams import Stream, stream
from agentsched.sim.workload import StepKey, sampled

__all__ = ["Averages", "StepKey", "averages_of"]

_RUNS_PER_WORKFLOW = 400
"""Drawn for the averages; the mean ideal of a workflow is then known with a standard error of 3 to 5 %."""


_Rests = defaultdict[StepKey, list[tuple[NDArray[np.float64], float]]]
"""Rests as work, shape (4,), and as ideal seconds."""


@dataclass(frozen=True, slots=True)
class Averages:
    """Averages over what the scenario draws.

    Attributes:
        ideal_s: workflow -> mean ideal time of its runs, seconds.
        context_tokens: prompt plus half the output of a call, mean over the mix of calls, tokens.
        output_tokens: mean output of a call over the mix, tokens.
        rests: (workflow, step) -> work that follows such a call in its run.
        left: (workflow, optional step) -> work that follows the step.
    """

    ideal_s: dict[str, float]
    context_tokens: float
    output_tokens: float
    rests: Mapping[StepKey, RemainderForecast]
    left: Mapping[StepKey, RemainderForecast]


def averages_of(scenario: Scenario) -> Averages:
    """Draw runs of each workflow and average them; the same scenario always gives the same."""
    return _averages(scenario.model_dump_json())


@lru_cache(maxsize=32)
def _averages(scenario_json: str) -> Averages:
    scenario = Scenario.model_validate_json(scenario_json)
    seed = int(stream(0, Stream.STATISTICS).integers(2**32))
    ideal_s: dict[str, float] = {}
    rests: _Rests = defaultdict(list)
    left: _Rests = defaultdict(list)
    weights = contexts = outputs = 0.0
    for sample in sampled(scenario, seed, _RUNS_PER_WORKFLOW):
        share = sample.share / len(sample.runs)
        ideal_s[sample.workflow] = float(np.mean([run.ideal_s for run in sample.runs]))
        for run in sample.runs:
            works = rests_of(run.calls, run.tail_s)
            for visit, last in last_calls(run.calls).items():
                left[sample.workflow, step_of_visit(visit)].append((works[last], run.calls[last].rest_s))
            for call, rest in zip(run.calls, works, strict=True):
                rests[sample.workflow, call.step].append((rest, call.rest_s))
                weights += share
                contexts += share * (call.input_tokens + 0.5 * call.output_tokens)
                outputs += share * call.output_tokens
    return Averages(
        ideal_s=ideal_s,
        context_tokens=contexts / weights,
        output_tokens=outputs / weights,
        rests=_typical(rests),
        left=_typical(left),
    )


def _typical(seen: _Rests) -> dict[StepKey, RemainderForecast]:
    return {key: typical_rest(*map(np.array, zip(*some, strict=True))) for key, some in seen.items()}
