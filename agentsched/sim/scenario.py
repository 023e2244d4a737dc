"""The format of a scenario file, version 1. The descriptions are what an editor shows."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from agentsched.core.rules import SkipRules
from agentsched.engine.profile import EngineProfile, HostedProfile
from agentsched.engine.profiles import all_profiles, load_profile, profile_from_mapping
from agentsched.errors import ConfigError
from agentsched.settings.endpoint_format import PriceFile
from agentsched.settings.fields import (
    NUMERIC,
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

__all__ = [
    "Arrivals",
    "Deadlines",
    "Demand",
    "Endpoints",
    "Faults",
    "Knowledge",
    "Lognormal",
    "Loop",
    "Scenario",
    "Stage",
    "Workflow",
    "Workload",
]


Sigma = Annotated[float, Field(ge=0, le=10), NUMERIC]
"""A standard deviation of a logarithm: at 10, one draw in three is off by a factor of 20,000 and more."""

Slower = Annotated[float, Field(gt=0, le=1000), NUMERIC]
"""How many times longer something takes; what is a thousand times slower is down."""

Bursts = Annotated[float, Field(gt=0, le=30), NUMERIC]
"""A coefficient of variation: beyond it nearly all gaps are nothing, and the rest longer than any simulation."""

_MOST_ENDPOINTS = 4096


class _Part(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


# -- the pool --------------------------------------------------------------------------------------------------------


def _usable_profile(value: object) -> object:
    engine_profile(value)
    return value


def engine_profile(value: object) -> EngineProfile:
    """The profile of a name or of a mapping of figures.

    Raises:
        ConfigError: there is none of that name, or a figure is wrong.
    """
    if isinstance(value, str):
        return load_profile(value)
    if not isinstance(value, dict):
        raise ConfigError("neither a name nor a mapping", allowed="the name of a profile, or a mapping of figures")
    return profile_from_mapping({"name": "own", "basis": "scenario", **value})


_PROFILE_SCHEMA = {
    "anyOf": [{"type": "string", "enum": sorted(all_profiles())}, {"type": "object"}],
    "description": "The name of an engine profile, or its figures (see agentsched.engine.profile).",
}


class Endpoints(_Part):
    """One or more equal endpoints."""

    name: Text
    """What results call it; several are numbered: name-1, name-2, ..."""
    count: Count = 1
    """How many of them there are."""
    profile: Annotated[object, AfterValidator(_usable_profile), WithJsonSchema(_PROFILE_SCHEMA)]
    """How fast it is and what it can hold."""
    price: PriceFile = PriceFile()
    """USD per million tokens."""
    quality: Share = 1.0
    """From 0 to 1, compared with what a call demands."""
    network: SecondsOrZero | None = None
    """Network time each way; the scenario's when left out."""
    max_concurrency: Count | None = None
    """Calls that each client may have in flight there; the profile's slots when left out, unbounded at a hosted API."""
    faults: Flag = True
    """Whether the scenario's faults befall it."""
    models: Annotated[list[Text], Field(min_length=1)] | None = None
    """The model names it serves, as recorded calls ask for them; whatever is asked for when left out."""

    @property
    def engine(self) -> EngineProfile:
        """Its profile."""
        return engine_profile(self.profile)

    @property
    def hosted(self) -> bool:
        """Whether it is a hosted API."""
        return isinstance(self.engine, HostedProfile)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the single endpoints."""
        return (self.name,) if self.count == 1 else tuple(f"{self.name}-{k + 1}" for k in range(self.count))


class Slowdown(_Part):
    """At random instants an endpoint becomes slow for a while."""

    factor: Slower
    """How many times longer everything takes meanwhile."""
    duration: Seconds
    """How long it lasts."""
    every: Seconds
    """Mean time between two at one endpoint."""


class Failure(_Part):
    """At random instants an endpoint loses everything it holds and is down for a while."""

    duration: Seconds
    """How long it is down."""
    every: Seconds
    """Mean time between two at one endpoint."""


class Planned(_Part):
    """At a given instant some endpoints fail or become slow for a while."""

    endpoints: Annotated[list[Text], Field(min_length=1)]
    """Whose: names as results have them, or the name of a group of several, which stands for all of them."""
    at: SecondsOrZero
    """When it begins."""
    duration: Seconds
    """How long it lasts."""
    factor: Slower | None = None
    """How many times longer everything takes meanwhile; left out, they lose everything they hold and are down."""


class Faults(_Part):
    """What goes wrong: for each endpoint on its own, as a Poisson process, and as planned."""

    slowdown: Slowdown | None = None
    """Leave it out for none."""
    failure: Failure | None = None
    """Leave it out for none."""
    planned: list[Planned] = Field(default_factory=list)
    """Faults at given instants."""


# -- the workload ----------------------------------------------------------------------------------------------------


class Lognormal(_Part):
    """A lognormal quantity."""

    median: Number
    """Its median."""
    sigma: Sigma
    """Standard deviation of its logarithm."""


class Loop(_Part):
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


class Width(_Part):
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


class Stage(_Part):
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


class Workflow(_Part):
    """A kind of workflow."""

    name: Text
    """What results call it."""
    share: NumberOrZero
    """Its share of all runs; shares are taken relative to their sum."""
    stages: Annotated[list[Stage], Field(min_length=1)]
    """What a run does."""


class Workload(_Part):
    """Runs that were recorded, in place of `workflows`. Paths are relative to the scenario file."""

    trace: Text
    """A decision log or a trace in its format, a directory of them, or a table (.csv, .jsonl, .parquet) of calls."""
    arrivals: Text | None = None
    """A file of the same kinds, or the same, that tells when runs begin; otherwise they begin as `arrivals` says."""
    in_order: Flag = False
    """Make the runs again in the trace's order; otherwise in an order drawn anew each time round."""
    tool: Lognormal | None = None
    """Seconds between two calls where the trace does not tell them; none when left out."""


class Demand(_Part):
    """What some of the calls ask of a model."""

    min_quality: Share
    """Endpoints below this quality cannot serve the call."""
    share: NumberOrZero
    """The share of the calls; shares are taken relative to their sum."""


class PromptScatter(_Part):
    """Prompt tokens are multiplied by exp(sigma z + shift), z standard normal, for each call on its own."""

    sigma: Sigma = 0.25
    """Standard deviation of the factor's logarithm."""
    shift: Annotated[float, Field(ge=-10, le=10)] = -0.03
    """Mean of the factor's logarithm."""
    most: Count = 24_000
    """No prompt is longer."""


class OutputBounds(_Part):
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


class Arrivals(_Part):
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


class Multiple(_Part):
    """One kind of deadline."""

    times: Number
    """How many times the ideal."""
    share: NumberOrZero
    """The share of the runs; shares are taken relative to their sum."""


class Deadlines(_Part):
    """The time a run is given: a multiple of its ideal (every call alone on the fastest endpoint, tools included)."""

    multiples: Annotated[list[Multiple], Field(min_length=1)]
    """The multiples and how often each is drawn."""
    plus: SecondsOrZero = 0.5
    """What is added."""
    of: Literal["run", "workflow"] = "run"
    """Whose ideal: the run's own, or the mean of its workflow (which does not tell how long this run will be)."""
    on_late: Literal["ignore", "raise"] = "ignore"
    """ignore: a late run goes on to its end; raise: it is cut at its deadline."""


class Admission(_Part):
    """Which runs clients give up before their deadline, so that others meet theirs; always whole runs."""

    floor: Share = 0.0
    """A run whose first call finds a lower probability of meeting the deadline is not begun; 0: all are."""
    give_up: Share = 0.0
    """A run is given up when a further call finds a lower probability; 0: none is."""


class Skip(_Part):
    """When clients leave out optional stages."""

    min_gain: Share = SkipRules().min_gain
    """Gain in the probability of meeting the deadline that it must exceed; 1: they never do."""


class Knowledge(_Part):
    """What clients know beforehand."""

    profile_error: Share = 0.1
    """Speeds are known within this error: true ones times a uniform factor of 1 - error to 1 + error."""
    length_error: Sigma = 0.6
    """Sigma of the lognormal error of the length predictor (with `--knowledge study`)."""


class Scenario(_Part):
    """What is simulated: a pool, its faults, the runs that come, and what they are to achieve."""

    version: Literal[1]
    """The version of this format: 1."""
    name: Text
    """What results call it."""
    about: str = ""
    """What it is for."""
    load: Number
    """Runs per second, where the command line asks for no other."""
    duration: Seconds
    """For how long runs arrive; all of them are simulated to their end."""
    warm_up: Share = 0.12
    """The share of the duration whose runs are not counted."""
    network: SecondsOrZero = 0.01
    """Network time between a client and an endpoint, each way."""
    progress: Seconds = 0.5
    """Clients are told of new tokens at most this often after the first (live: every 0.1 s); larger is faster."""
    stream: Flag = True
    """Whether clients read streams; if not they see nothing of an answer before its end."""
    call_retries: WholeOrZero = 2
    """How often an agent repeats a call that the scheduler gave up, before its run fails."""
    continuation: Flag = False
    """Whether another instance may go on with an answer that broke off or crawls, as live; otherwise it is asked for
    anew. With `stream: false`: whether whole answers may be asked for as streams, so that silence shows."""
    endpoints: Annotated[list[Endpoints], Field(min_length=1)]
    """The pool; every endpoint may serve every call whose demand it meets."""
    faults: Faults = Faults()
    """What goes wrong."""
    arrivals: Arrivals = Arrivals()
    """When runs begin."""
    workflows: list[Workflow] = Field(default_factory=list)
    """The mix of what is run."""
    workload: Workload | None = None
    """What is run instead of workflows: runs that were recorded."""
    admission: Admission = Admission()
    """What is not served in overload."""
    skip: Skip = Skip()
    demands: list[Demand] = Field(default_factory=list)
    """What calls ask of a model; left out: nothing."""
    prompts: PromptScatter = PromptScatter()
    outputs: OutputBounds = OutputBounds()
    deadlines: Deadlines | None = None
    """Left out: runs have no deadline, recorded ones the one they had."""
    knowledge: Knowledge = Knowledge()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.workflows) == (self.workload is not None):
            message = "both are there" if self.workflows else "nothing says what is run"
            raise ConfigError(message, field="workflows", allowed="either workflows or a workload")
        many = sum(group.count for group in self.endpoints)
        if many > _MOST_ENDPOINTS:
            raise ConfigError(f"{many} are too many", field="endpoints", allowed=f"up to {_MOST_ENDPOINTS} in all")
        _unique("endpoints", [name for group in self.endpoints for name in group.names])
        _unique("workflows", [workflow.name for workflow in self.workflows])
        for where, shares in (
            ("workflows", [workflow.share for workflow in self.workflows]),
            ("demands", [demand.share for demand in self.demands]),
            ("deadlines", [] if self.deadlines is None else [one.share for one in self.deadlines.multiples]),
        ):
            if shares and not sum(shares) > 0:
                raise ConfigError("all shares are 0", field=where, allowed="at least one above 0")
        self._check_planned()
        if self.workflows and all(group.models is not None for group in self.endpoints):
            message = "the calls of workflows ask for no model by name"
            raise ConfigError(message, field="endpoints.models", allowed="at least one endpoint without it")
        best = max(group.quality for group in self.endpoints)
        for demand in self.demands:
            if demand.share > 0 and demand.min_quality > best:
                raise ConfigError("no endpoint is as good", field="demands", allowed=f"a min_quality up to {best:g}")
        self._check_room()
        return self

    def _check_planned(self) -> None:
        known = {name for group in self.endpoints for name in (group.name, *group.names)}
        for fault in self.faults.planned:
            for name in fault.endpoints:
                if name not in known:
                    allowed = ", ".join(sorted(known))
                    raise ConfigError(f"unknown endpoint {name!r}", field="faults.planned", allowed=allowed)

    def _check_room(self) -> None:
        longest = self.prompts.most + self.outputs.most
        for group in self.endpoints:
            limit = group.engine.context_limit_tokens
            if longest > limit:
                message = f"a call may need {longest} tokens, but {group.name} holds {limit}"
                raise ConfigError(message, field="prompts", allowed=f"prompts.most + outputs.most up to {limit}")


def _unique(where: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"the name {name} is used twice", field=where, allowed="unique names")
        seen.add(name)
