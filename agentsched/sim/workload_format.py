"""The format of what a scenario's runs do, when they begin, and the time they are given."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agentsched.errors import ConfigError
from agentsched.settings.fields import (
    Count,
    Flag,
    Number,
    NumberOrZero,
    Seconds,
    SecondsOrZero,
    Share,
    Text,
    WholeOrZero,
)
from agentsched.sim.format_fields import Bursts, Part, Sigma

__all__ = [
    "Arrivals",
    "Deadlines",
    "Demand",
    "Lognormal",
    "Loop",
    "OutputBounds",
    "PromptScatter",
    "Stage",
    "Workflow",
    "Workload",
]


_MOST_CALLS = 4096
"""Calls of a run. One request of an agent becomes 3 to 60; with far more, a machine has no room for the runs."""


class Lognormal(Part):
    """A lognormal quantity."""

    median: Number
    """Its median."""
    sigma: Sigma
    """Standard deviation of its logarithm."""


class Loop(Part):
    """A stage that is repeated; the number of times is geometric."""

    mean: Number
    """Mean number of times, before it is cut off at the most."""
    least: Count = 1
    """At least so often."""
    most: Count
    """At most so often."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.least <= self.mean <= self.most:
            raise ConfigError("out of range", field="loop.mean", allowed=f"from {self.least} to {self.most}")
        return self


class Width(Part):
    """A stage of several calls at once; how many is uniform. What follows waits for all of them."""

    least: Count
    """At least so many."""
    most: Count
    """At most so many."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.least > self.most:
            raise ConfigError("out of range", field="width.most", allowed=f"{self.least} or more")
        return self


class Stage(Part):
    """One call, a loop of calls one after another, or several calls at once; stages follow one another."""

    step: Text
    """The step's name."""
    prompt: Count
    """Prompt tokens, before they are scattered."""
    prompt_growth: WholeOrZero = 0
    """Prompt tokens added each time a loop comes round."""
    output: Lognormal
    """Output tokens. The run's own factor is inside its sigma."""
    tool: Lognormal | None = None
    """Seconds of the agent's own work between the answer and whatever follows it."""
    loop: Loop | None = None
    """Repeat it."""
    width: Width | None = None
    """Make several calls at once."""
    shared_prefix: Flag = False
    """Its prompt begins with the run's previous prompt and is at least 50 tokens longer than that and its answer."""
    optional: Flag = False
    """Whether clients leave it out, with all its calls and tools, where a run is likelier to be in time without it."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.loop is not None and self.width is not None:
            raise ConfigError("a stage is a loop or a fan-out, not both", field="stage.width", allowed="leave it out")
        if self.width is not None and self.shared_prefix:
            raise ConfigError("the calls of a fan-out have prompts of their own", field="stage.shared_prefix")
        return self


class Workflow(Part):
    """A kind of workflow."""

    name: Text
    """What results call it."""
    share: NumberOrZero
    """Its share of all runs; shares are taken relative to their sum."""
    stages: Annotated[list[Stage], Field(min_length=1)]
    """What a run does."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        calls = 0
        for number, stage in enumerate(self.stages):
            kind = "loop" if stage.loop is not None else "width"
            part = stage.loop or stage.width
            calls += 1 if part is None else part.most
            if calls > _MOST_CALLS:
                message = "more calls than a run may make"
                raise ConfigError(message, field=f"stages[{number}].{kind}.most", allowed=f"up to {_MOST_CALLS} in all")
        return self


class Workload(Part):
    """Runs that were recorded, in place of `workflows`. Paths are relative to the scenario file."""

    trace: Text
    """A decision log or a trace in its format, a directory of them, or a table (.csv, .jsonl, .parquet) of calls."""
    arrivals: Text | None = None
    """A file of the same kinds, or the same, that tells when runs begin; otherwise they begin as `arrivals` says."""
    in_order: Flag = False
    """Make the runs again in the trace's order; otherwise in an order drawn anew each time round."""
    tool: Lognormal | None = None
    """Seconds between two calls where the trace does not tell them; none when left out."""


class Demand(Part):
    """What some of the calls ask of a model."""

    min_quality: Share
    """Endpoints below this quality cannot serve the call."""
    share: NumberOrZero
    """The share of the calls; shares are taken relative to their sum."""


class PromptScatter(Part):
    """Prompt tokens are multiplied by exp(sigma z + shift), z standard normal, for each call on its own."""

    sigma: Sigma = 0.25
    """Standard deviation of the factor's logarithm."""
    shift: Annotated[float, Field(ge=-10, le=10)] = -0.03
    """Mean of the factor's logarithm."""
    most: Count = 24_000
    """No prompt is longer."""


class OutputBounds(Part):
    """Bounds of every output length, and how much the outputs of one run have in common."""

    least: Count = 4
    """No answer is shorter."""
    most: Count = 4096
    """No answer is longer."""
    run_sigma: Sigma = 0.35
    """Sigma of the lognormal factor that all outputs of a run share, in each stage at most its own; the rest of a
    stage's sigma is each call's."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.least > self.most:
            raise ConfigError("out of range", field="outputs.most", allowed=f"{self.least} or more")
        return self


_ARRIVAL_KEYS: dict[str, tuple[str, ...]] = {
    "poisson": (),
    "gamma": ("cv",),
    "square_wave": ("period", "high_share", "high"),
    "recorded": ("times",),
}


class Arrivals(Part):
    """When runs begin."""

    kind: Literal["poisson", "gamma", "square_wave", "recorded"] = "poisson"
    """poisson; gamma (bursty gaps); square_wave (Poisson at two rates in turn); recorded (given instants)."""
    cv: Bursts | None = None
    """gamma: the coefficient of variation of the gaps; 1 is Poisson."""
    period: Seconds | None = None
    """square_wave: from one peak's begin to the next."""
    high_share: Share | None = None
    """square_wave: the share of the period that the peak lasts."""
    high: Number | None = None
    """square_wave: the rate in the peak, in multiples of the mean rate."""
    times: Annotated[list[NumberOrZero], Field(min_length=1)] | None = None
    """recorded: instants in seconds; scaled in time to the mean rate that is asked for, if one is."""

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Self:
        wanted = _ARRIVAL_KEYS[self.kind]
        for key in ("cv", "period", "high_share", "high", "times"):
            given = getattr(self, key) is not None
            if given and key not in wanted:
                raise ConfigError(f"does not belong to {self.kind} arrivals", field=f"arrivals.{key}")
            if not given and key in wanted:
                raise ConfigError(f"{self.kind} arrivals need it", field=f"arrivals.{key}")
        if self.high is not None and self.high_share is not None:
            if not 0 < self.high_share < 1:
                raise ConfigError("out of range", field="arrivals.high_share", allowed="between 0 and 1")
            if not 1 <= self.high <= 1 / self.high_share:
                allowed = f"from 1 to {1 / self.high_share:g}, where nothing comes outside the peak"
                raise ConfigError("out of range", field="arrivals.high", allowed=allowed)
        return self


class Multiple(Part):
    """One kind of deadline."""

    times: Number
    """How many times the ideal."""
    share: NumberOrZero
    """The share of the runs; shares are taken relative to their sum."""


class Deadlines(Part):
    """The time a run is given: a multiple of its ideal (every call alone on the fastest endpoint, tools included)."""

    multiples: Annotated[list[Multiple], Field(min_length=1)]
    """The multiples and how often each is drawn."""
    plus: SecondsOrZero = 0.5
    """What is added."""
    of: Literal["run", "workflow"] = "run"
    """Whose ideal: the run's own, or the mean of its workflow (which does not tell how long this run will be)."""
    on_late: Literal["ignore", "raise"] = "ignore"
    """ignore: a late run goes on to its end; raise: it is cut at its deadline."""
