"""Draws runs from the workflows that a scenario describes."""

from dataclasses import dataclass
from math import exp, sqrt

import numpy as np

from agentsched.core.optional import visit_of
from agentsched.sim.ideal import ideal_times
from agentsched.sim.plan import CallPlan, Drawn, critical_path
from agentsched.sim.scenario import Scenario
from agentsched.sim.streams import Mix, Stream, stream
from agentsched.sim.workload_format import Lognormal, Stage, Workflow

__all__ = ["WorkflowDrawer", "lognormal"]

_LONGER_THAN_PREFIX_TOKENS = 50
"""A prompt that begins with the previous one and its answer says at least this much more."""


@dataclass(slots=True)
class _Draft:
    """One call before its ideal time is known."""

    stage: Stage
    input_tokens: int
    output_tokens: int
    tool_s: float
    parents: tuple[int, ...]
    lineage: int
    min_quality: float
    optional: tuple[str, ...] = ()


class WorkflowDrawer:
    """Draws runs one after another, each kind of chance from a stream of its own.

    Args:
        scenario: what is drawn from.
        seed: of the streams.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        self._shapes, self._lengths = stream(seed, Stream.SHAPES), stream(seed, Stream.LENGTHS)
        self._noise = stream(seed, Stream.PREDICTIONS)
        self._ideal = ideal_times(scenario)
        self._mix = Mix([workflow.share for workflow in scenario.workflows])
        self._demands = Mix([demand.share for demand in scenario.demands])

    def draw(self) -> Drawn:
        """The next run."""
        return self.draw_one_of(self._scenario.workflows[self._mix.draw(self._shapes)])

    def draw_one_of(self, workflow: Workflow) -> Drawn:
        """The next run, of this workflow."""
        drafts = self._drafts(workflow)
        times_s = [self._ideal.call_s(one.input_tokens, one.output_tokens, one.min_quality) for one in drafts]
        ideal_s, rests_s = critical_path(times_s, [one.tool_s for one in drafts], [one.parents for one in drafts])
        calls = tuple(
            CallPlan(
                step=one.stage.step,
                input_tokens=one.input_tokens,
                output_tokens=one.output_tokens,
                tool_s=one.tool_s,
                parents=one.parents,
                lineage=one.lineage,
                min_quality=one.min_quality,
                noise=float(self._noise.standard_normal()),
                ideal_s=time_s,
                rest_s=rest_s,
                optional=one.optional,
            )
            for one, time_s, rest_s in zip(drafts, times_s, rests_s, strict=True)
        )
        return Drawn(workflow.name, ideal_s, calls)

    def _drafts(self, workflow: Workflow) -> list[_Draft]:
        drafts: list[_Draft] = []
        run_z = float(self._lengths.standard_normal())
        before: tuple[int, ...] = ()
        for number, stage in enumerate(workflow.stages):
            visits = (visit_of(stage.step, number),) if stage.optional else ()
            for turn in range(self._turns(stage)):
                width = 1 if stage.width is None else self._uniform(stage.width.least, stage.width.most)
                first = len(drafts)
                for _ in range(width):
                    draft = self._draft(stage, turn, before, drafts, run_z)
                    draft.optional = visits
                    drafts.append(draft)
                before = tuple(range(first, len(drafts)))
        return drafts

    def _draft(self, stage: Stage, turn: int, before: tuple[int, ...], so_far: list[_Draft], run_z: float) -> _Draft:
        scatter = self._scenario.prompts
        factor = exp(scatter.sigma * float(self._shapes.standard_normal()) + scatter.shift)
        tokens = round((stage.prompt + stage.prompt_growth * turn) * factor)
        lineage = len(so_far)
        if stage.shared_prefix and so_far:
            previous = so_far[-1]
            lineage = previous.lineage
            tokens = max(tokens, previous.input_tokens + previous.output_tokens + _LONGER_THAN_PREFIX_TOKENS)
        return _Draft(
            stage=stage,
            input_tokens=max(1, min(scatter.most, tokens)),
            output_tokens=self._output(stage.output, run_z),
            tool_s=0.0 if stage.tool is None else lognormal(stage.tool, self._shapes),
            parents=before,
            lineage=lineage,
            min_quality=self._demand(),
        )

    def _turns(self, stage: Stage) -> int:
        loop = stage.loop
        if loop is None:
            return 1
        more = int(self._shapes.geometric(1.0 / (loop.mean - loop.least + 1.0)))
        return min(loop.most, loop.least - 1 + more)

    def _uniform(self, least: int, most: int) -> int:
        return int(self._shapes.integers(least, most + 1))

    def _demand(self) -> float:
        demands = self._scenario.demands
        return demands[self._demands.draw(self._shapes)].min_quality if demands else 0.0

    def _output(self, output: Lognormal, run_z: float) -> int:
        bounds = self._scenario.outputs
        shared = min(bounds.run_sigma, output.sigma)
        own = sqrt(output.sigma**2 - shared**2)
        z = shared * run_z + own * float(self._lengths.standard_normal())
        return max(bounds.least, min(bounds.most, round(output.median * exp(z))))


def lognormal(quantity: Lognormal, rng: np.random.Generator) -> float:
    """One value of a lognormal quantity."""
    return quantity.median * exp(quantity.sigma * float(rng.standard_normal()))
