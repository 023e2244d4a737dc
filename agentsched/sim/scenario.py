"""The format of a scenario file, version 1."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agentsched.core.rules import SkipRules
from agentsched.errors import ConfigError
from agentsched.settings.fields import Flag, Number, Seconds, SecondsOrZero, Share, Text, WholeOrZero
from agentsched.sim.format_fields import Interval, Part, Sigma
from agentsched.sim.pool_format import Endpoints, Faults
from agentsched.sim.workload_format import Arrivals, Deadlines, Demand, OutputBounds, PromptScatter, Workflow, Workload

__all__ = ["Knowledge", "Scenario"]

_MOST_ENDPOINTS = 4096


class Admission(Part):
    """Which runs clients give up before their deadline, so that others meet theirs; always whole runs."""

    floor: Share = 0.0
    """A run whose first call finds a lower probability of meeting the deadline is not begun; 0: all are."""
    give_up: Share = 0.0
    """A run is given up when a further call finds a lower probability; 0: none is."""


class Skip(Part):
    """When clients leave out optional stages."""

    min_gain: Share = SkipRules().min_gain
    """Gain in the probability of meeting the deadline that it must exceed; 1: they never do."""


class Knowledge(Part):
    """What clients know beforehand."""

    profile_error: Share = 0.1
    """Speeds are known within this error: true ones times a uniform factor of 1 - error to 1 + error."""
    length_error: Sigma = 0.6
    """Sigma of the lognormal error of the length predictor (with `--knowledge study`)."""


class Scenario(Part):
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
    progress: Interval = 0.5
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
        _unique("endpoints", [(group.name, *group.names) for group in self.endpoints])
        _unique("workflows", [(workflow.name,) for workflow in self.workflows])
        for where, shares in (
            ("workflows", [workflow.share for workflow in self.workflows]),
            ("demands", [demand.share for demand in self.demands]),
            ("deadlines.multiples", [] if self.deadlines is None else [one.share for one in self.deadlines.multiples]),
        ):
            if shares and not sum(shares) > 0:
                raise ConfigError("all shares are 0", field=where, allowed="at least one above 0")
        self._check_planned()
        if self.workflows and all(group.models is not None for group in self.endpoints):
            message = "the calls of workflows ask for no model by name"
            raise ConfigError(message, field="endpoints[0].models", allowed="at least one endpoint without it")
        self._check_demands()
        self._check_sizes()
        self._check_room()
        return self

    def _check_planned(self) -> None:
        known = dict.fromkeys(name for group in self.endpoints for name in (group.name, *group.names))
        for number, fault in enumerate(self.faults.planned):
            for place, name in enumerate(fault.endpoints):
                if name not in known:
                    where = f"faults.planned[{number}].endpoints[{place}]"
                    raise ConfigError("unknown endpoint", field=where, given=name, allowed=", ".join(known))

    def _check_demands(self) -> None:
        # Calls of workflows ask for no model by name, so that endpoints with `models` never serve them.
        best = max(group.quality for group in self.endpoints if group.models is None or self.workload is not None)
        for number, demand in enumerate(self.demands):
            if demand.share > 0 and demand.min_quality > best:
                where, allowed = f"demands[{number}].min_quality", f"a min_quality up to {best:g}"
                raise ConfigError("no endpoint is as good", field=where, given=demand.min_quality, allowed=allowed)

    def _check_sizes(self) -> None:
        """A typical call beyond the bounds would be cut every time, and nobody would be told."""
        for number, workflow in enumerate(self.workflows):
            for place, stage in enumerate(workflow.stages):
                where = f"workflows[{number}].stages[{place}]"
                if stage.prompt > self.prompts.most:
                    allowed = f"up to {self.prompts.most}, which is prompts.most"
                    raise ConfigError("longer than any prompt may be", field=f"{where}.prompt", allowed=allowed)
                if stage.output.median > self.outputs.most:
                    allowed = f"up to {self.outputs.most}, which is outputs.most"
                    raise ConfigError("longer than any answer may be", field=f"{where}.output.median", allowed=allowed)

    def _check_room(self) -> None:
        longest = self.prompts.most + self.outputs.most
        for group in self.endpoints:
            limit = group.engine.context_limit_tokens
            if longest > limit:
                message = f"a call may need {longest} tokens, but {group.name} holds {limit}"
                raise ConfigError(message, field="prompts.most", allowed=f"prompts.most + outputs.most up to {limit}")


def _unique(where: str, entries: list[tuple[str, ...]]) -> None:
    """No name stands for two of the entries; an entry may have several names."""
    seen: dict[str, int] = {}
    for number, names in enumerate(entries):
        for name in names:
            if seen.setdefault(name, number) != number:
                message = f"the name {name} is used twice, first by {where}[{seen[name]}]"
                raise ConfigError(message, field=f"{where}[{number}].name", allowed="unique names")
