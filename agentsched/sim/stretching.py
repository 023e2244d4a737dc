"""A scenario in slow motion: everything takes the same multiple of its time, and happens as often per such time."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TypeVar

from pydantic import BaseModel

from agentsched.engine.profile import DisaggregatedProfile, EngineProfile, HardwareProfile, HostedProfile
from agentsched.errors import ConfigError
from agentsched.sim.pool_format import Endpoints, Faults
from agentsched.sim.scenario import Scenario
from agentsched.sim.workload_format import Lognormal, Stage, Workflow

__all__ = ["fastest_tpot_s", "stretched"]

Part = TypeVar("Part", bound=BaseModel)
Single = TypeVar("Single", HardwareProfile, HostedProfile)

_INSTANCE_TIMES = (
    "step_base_s",
    "step_per_sequence_s",
    "step_per_kv_token_s",
    "prefill_hidden_s",
    "prefill_attention_s",
    "frontend_s",
)
_HOSTED_TIMES = ("ttft_median_s", "tpot_median_s", "stall_mean_s")
_HOSTED_RATES = ("prefill_tokens_per_s", "requests_per_minute", "tokens_per_minute")


def fastest_tpot_s(scenario: Scenario) -> float:
    """Seconds per output token of a call alone at the fastest endpoint."""
    return min(_tpot_s(group.engine) for group in scenario.endpoints)


def _tpot_s(profile: EngineProfile) -> float:
    if isinstance(profile, HostedProfile):
        return profile.tpot_median_s
    return (profile.decode if isinstance(profile, DisaggregatedProfile) else profile).step_base_s


def stretched(scenario: Scenario, factor: float) -> Scenario:
    """The scenario, ``factor`` times as slow: engines, tools, faults, arrivals and deadlines.

    Network times, how often clients hear of tokens, and the constants of policies and of the scheduler keep their
    seconds.

    Raises:
        ConfigError: it has disaggregated endpoints, whose arrivals are recorded, or recorded runs.
    """
    if factor == 1.0:
        return scenario
    if scenario.workload is not None or scenario.arrivals.kind == "recorded":
        raise ConfigError("recorded runs and arrivals cannot be stretched", field=scenario.name, allowed="drawn ones")
    arrivals = scenario.arrivals
    period = None if arrivals.period is None else arrivals.period * factor
    deadlines = scenario.deadlines
    return _changed(
        scenario,
        load=scenario.load / factor,
        duration=scenario.duration * factor,
        endpoints=[_endpoints(group, factor) for group in scenario.endpoints],
        faults=_faults(scenario.faults, factor),
        arrivals=_changed(arrivals, period=period),
        workflows=[_workflow(one, factor) for one in scenario.workflows],
        deadlines=None if deadlines is None else _changed(deadlines, plus=deadlines.plus * factor),
    )


def _changed(part: Part, **fields: object) -> Part:
    return part.model_copy(update=fields)


def _endpoints(group: Endpoints, factor: float) -> Endpoints:
    profile = group.engine
    if isinstance(profile, HardwareProfile):
        return _with_profile(group, _scaled(profile, factor, _INSTANCE_TIMES, ("prefill_tokens_per_s",)))
    if isinstance(profile, HostedProfile):
        return _with_profile(group, _scaled(profile, factor, _HOSTED_TIMES, _HOSTED_RATES))
    raise ConfigError("a disaggregated endpoint cannot be stretched", field=f"endpoint {group.name!r}.profile")


def _scaled(profile: Single, factor: float, times: Sequence[str], rates: Sequence[str]) -> Single:
    changed = {name: getattr(profile, name) * factor for name in times}
    changed |= {name: getattr(profile, name) / factor for name in rates if getattr(profile, name) is not None}
    return replace(profile, **changed)


def _with_profile(group: Endpoints, profile: HardwareProfile | HostedProfile) -> Endpoints:
    return _changed(group, profile=asdict(profile))


def _faults(faults: Faults, factor: float) -> Faults:
    slowdown, failure = faults.slowdown, faults.failure
    if slowdown is not None:
        slowdown = _changed(slowdown, duration=slowdown.duration * factor, every=slowdown.every * factor)
    if failure is not None:
        failure = _changed(failure, duration=failure.duration * factor, every=failure.every * factor)
    planned = [_changed(one, at=one.at * factor, duration=one.duration * factor) for one in faults.planned]
    return _changed(faults, slowdown=slowdown, failure=failure, planned=planned)


def _workflow(workflow: Workflow, factor: float) -> Workflow:
    return _changed(workflow, stages=[_stage(stage, factor) for stage in workflow.stages])


def _stage(stage: Stage, factor: float) -> Stage:
    tool: Lognormal | None = stage.tool
    return stage if tool is None else _changed(stage, tool=_changed(tool, median=tool.median * factor))
