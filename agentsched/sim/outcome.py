"""What came of a simulation: one result per run, and sums over what the endpoints did."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from hashlib import blake2b

from agentsched.core.value import value
from agentsched.engine.request import Load

__all__ = ["Outcome", "RunResult"]


@value()
class RunResult:
    """How a run ended.

    Attributes:
        index: its number, by arrival.
        workflow: the workflow's name.
        client: the client process that ran it.
        arrival_s, ended_s: its begin and its end.
        deadline_s: the time it was given; None: it had no deadline.
        ideal_s: see `RunPlan`.
        outcome: ok, late (after its deadline, which was not enforced), deadline (cut), or error.
        calls, attempts: how many were made; a call that the agent repeated counts again.
        input_tokens, output_tokens, cost_usd: over all attempts.
        quality: mean of the declared qualities of the endpoints that answered its calls; None: none was answered.
        skipped: how many optional steps were left out.
    """

    index: int
    workflow: str
    client: int
    arrival_s: float
    ended_s: float
    deadline_s: float | None
    ideal_s: float
    outcome: str
    calls: int
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    quality: float | None = None
    skipped: int = 0

    @property
    def latency_s(self) -> float:
        """Seconds from its begin to its end."""
        return self.ended_s - self.arrival_s

    @property
    def met(self) -> bool:
        """Whether it came to its end in time; without a deadline, whether it came to its end."""
        return self.outcome == "ok"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One simulation.

    Attributes:
        runs: every run, by arrival.
        counted_from_s, counted_until_s: runs that arrived in this interval count; those before are warm-up.
        ended_s: the instant of the last event.
        attempts: endpoint -> why it was sent there (see `Decision`) -> how many attempts.
        loads: endpoint -> what its engine counted.
        events: things that happened on the timeline.
    """

    runs: tuple[RunResult, ...]
    counted_from_s: float
    counted_until_s: float
    ended_s: float
    attempts: Mapping[str, Mapping[str, int]]
    loads: Mapping[str, Load]
    events: int

    @property
    def counted(self) -> Sequence[RunResult]:
        """The runs that count."""
        return [run for run in self.runs if self.counted_from_s <= run.arrival_s < self.counted_until_s]

    @property
    def calls(self) -> int:
        """Calls of all runs."""
        return sum(run.calls for run in self.runs)

    def digest(self) -> str:
        """A text that is equal for equal results of every run, to the last bit."""
        return blake2b(repr([astuple(run) for run in self.runs]).encode(), digest_size=16).hexdigest()
