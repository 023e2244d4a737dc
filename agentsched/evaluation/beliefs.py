"""What is believed of output lengths after a trace."""

from collections.abc import Sequence
from dataclasses import dataclass

from agentsched.core.call import ModelCall
from agentsched.core.remainder import RunHistory
from agentsched.evaluation.feeding import Feeder
from agentsched.evaluation.trace import TraceRun
from agentsched.forecast.length import EmpiricalLengths

__all__ = ["StepBelief", "beliefs_of", "learned_from"]


@dataclass(frozen=True, slots=True)
class StepBelief:
    """The forecast of the first call of a step in a run, tokens, and which view of the run's history is used."""

    workflow: str
    step: str
    model: str
    view: str
    p5_tokens: float
    p50_tokens: float
    p95_tokens: float


def learned_from(runs: Sequence[TraceRun]) -> EmpiricalLengths:
    """What the live learner knows after these runs."""
    feeder = Feeder()
    for number, run in enumerate(runs):
        for _ in feeder.play(run, number):
            pass
    return feeder.known


def beliefs_of(known: EmpiricalLengths) -> list[StepBelief]:
    """One for each (workflow, step, model) that was seen, in alphabetical order."""
    made = []
    keys = sorted(key for key in known.groups if len(key) == 3 and key[1])
    with_model = {key[:2] for key in keys if key[2]}
    for workflow, step, model in keys:
        if not model and (workflow, step) in with_model:
            continue
        call = ModelCall("", "", workflow, step, 0, model)
        forecast = known.predict(call, RunHistory())
        told = (forecast.quantile(level) for level in (0.05, 0.5, 0.95))
        made.append(StepBelief(workflow, step, model, known.view_of(call), *told))
    return made
