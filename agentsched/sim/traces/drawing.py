"""Runs of a scenario that are recorded ones, made again."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from agentsched.sim.ideal import IdealTimes
from agentsched.sim.plan import MODEL, CallPlan, Drawn, critical_path
from agentsched.sim.traces.reading import read_arrivals, read_runs
from agentsched.sim.traces.recorded import RecordedCall, RecordedRun, Recording, recording_of

__all__ = ["Fitting", "drawn_again", "trace_arrivals", "trace_recording"]


@dataclass(frozen=True, slots=True)
class Fitting:
    """How recorded calls are made fit for a pool, and what the record does not tell of them.

    Attributes:
        most_input_tokens, least_output_tokens, most_output_tokens: longer (shorter) ones are cut (lengthened) to this.
        wait_s: draws the time before a call where the record does not tell it, seconds.
        min_quality: draws what a call demands; it demands no less than the record says.
        noise: draws the error of whoever predicts a call's length.
        model: the requested model name of a recorded one, None where the record has none.
    """

    most_input_tokens: int
    least_output_tokens: int
    most_output_tokens: int
    wait_s: Callable[[], float]
    min_quality: Callable[[], float]
    noise: Callable[[], float]
    model: Callable[[str | None], str] = lambda name: MODEL


def drawn_again(run: RecordedRun, ideal: IdealTimes, fitting: Fitting) -> Drawn:
    """A recorded run as the simulator runs it."""
    inputs = [max(1, min(fitting.most_input_tokens, call.input_tokens)) for call in run.calls]
    outputs = [
        max(fitting.least_output_tokens, min(fitting.most_output_tokens, call.output_tokens)) for call in run.calls
    ]
    waits_s = [fitting.wait_s() if call.wait_s is None else call.wait_s for call in run.calls]
    demands = [max(call.min_quality, fitting.min_quality()) for call in run.calls]
    models = [fitting.model(call.model) for call in run.calls]
    times_s = [ideal.call_s(*told) for told in zip(inputs, outputs, demands, models, strict=True)]
    none_s = [0.0] * len(times_s)
    path_s, rests_s = critical_path(times_s, none_s, [call.parents for call in run.calls], waits_s)

    def plan(k: int, call: RecordedCall) -> CallPlan:
        return CallPlan(
            step=call.step,
            input_tokens=inputs[k],
            output_tokens=outputs[k],
            tool_s=0.0,
            parents=call.parents,
            lineage=call.lineage,
            min_quality=demands[k],
            noise=fitting.noise(),
            ideal_s=times_s[k],
            rest_s=rests_s[k] + run.tail_s,
            wait_s=waits_s[k],
            model=models[k],
            max_tokens=call.max_tokens,
            stream=call.stream,
            needs=call.needs,
            optional=call.optional,
        )

    return Drawn(
        workflow=run.workflow,
        ideal_s=path_s + run.tail_s,
        calls=tuple(plan(k, call) for k, call in enumerate(run.calls)),
        tail_s=run.tail_s,
        recorded_deadline_s=run.deadline_s,
        arrival_s=run.arrival_s,
        priority=run.priority,
        tenant=run.tenant,
        max_cost_usd=run.max_cost_usd,
    )


def trace_recording(path: str) -> Recording:
    """The recorded runs of a file; read once as long as it does not change.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    return _recording(path, _version(path))


def trace_arrivals(path: str) -> tuple[float, ...]:
    """The recorded arrivals of a file, likewise.

    Raises:
        ConfigError: as above; or it tells none.
    """
    return _arrivals(path, _version(path))


def _version(path: str) -> tuple[int, int]:
    try:
        found = Path(path).stat()
    except OSError:  # reading will say what is wrong
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=8)
def _recording(path: str, version: tuple[int, int]) -> Recording:
    return recording_of(read_runs(path), source=path)


@lru_cache(maxsize=8)
def _arrivals(path: str, version: tuple[int, int]) -> tuple[float, ...]:
    return tuple(read_arrivals(path))
