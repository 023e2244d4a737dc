"""What a recorded run is made of, with every gap of the record closed and every assumption counted."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from agentsched.core.call import FailureKind
from agentsched.core.endpoint import CAPABILITIES
from agentsched.errors import ConfigError
from agentsched.telemetry.run_log import CallLog, RunLog

__all__ = ["RecordedCall", "RecordedRun", "Recording", "recording_of"]

_TOUCHING_S = 0.001
"""A call that starts this much before another's end may still have waited for it: clocks are read one after another."""

_MOST_TOKENS = 10**9
"""Of one call; what counts more is no count."""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call as it is to be made again.

    Attributes:
        wait_s: seconds between the end of the last of its parents (the run's arrival, without any) and it; None: the
            record does not tell.
        lineage: number of the call whose prompt its own continues, its own number if none.
        model: the requested model name; None: not told.
        stream: whether the caller read a stream; None: not told.
        needs: capabilities the endpoint had to have.

    The rest is as in `CallPlan`.
    """

    step: str
    input_tokens: int
    output_tokens: int
    wait_s: float | None
    parents: tuple[int, ...]
    lineage: int
    model: str | None = None
    max_tokens: int | None = None
    min_quality: float = 0.0
    stream: bool | None = None
    needs: frozenset[str] = frozenset()
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run as it is to be made again, and how it went.

    Attributes:
        arrival_s: seconds since the Unix epoch, or since whatever the trace counts from; None: not told.
        deadline_s: what it was given, seconds; None: nothing, or not told.
        tail_s: the program's own time after the last answer, seconds.
        outcome: how it ended; None: not told.
        complete: whether it came to its end; if not, what it would still have done is unknown.
        elapsed_s: how long it took, seconds; None: not told.
        met: whether it ended well and in time; None: not told, or it had no deadline.
        cost_usd: None: not told.
        skipped: how many optional steps it left out.
    """

    run_id: str
    workflow: str
    arrival_s: float | None
    deadline_s: float | None
    calls: tuple[RecordedCall, ...]
    tail_s: float = 0.0
    outcome: str | None = None
    complete: bool = True
    elapsed_s: float | None = None
    met: bool | None = None
    cost_usd: float | None = None
    priority: int = 0
    tenant: str = "default"
    max_cost_usd: float | None = None
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Recording:
    """Recorded runs, by arrival.

    Attributes:
        runs: at least one.
        assumed: what had to be assumed, in words -> how often.
    """

    runs: tuple[RecordedRun, ...]
    assumed: Mapping[str, int]


def recording_of(logs: Sequence[RunLog], *, source: str) -> Recording:
    """Close the gaps of recorded runs.

    Args:
        logs: as read.
        source: where they come from, for errors.

    Raises:
        ConfigError: no run has a call whose tokens are known, or some call's cannot be.
    """
    assumed: Counter[str] = Counter()
    for log in logs:
        _check_sizes(log, source)
    sizes = _Sizes([call for log in logs for call in log.calls])
    if not sizes.known:
        message = "no call tells both its prompt's and its answer's tokens"
        raise ConfigError(message, file=source, allowed="input_tokens and output_tokens in some answered call")
    runs = []
    for log in logs:
        calls = _Calls(log, sizes, assumed).made()
        if calls:
            runs.append(_run(log, calls, assumed))
        else:
            assumed["runs without a call that was answered, left out"] += 1
    if not runs:
        raise ConfigError("no run has a call that was answered", file=source)
    return Recording(tuple(runs), dict(sorted(assumed.items())))


def _check_sizes(log: RunLog, source: str) -> None:
    for call in log.calls:
        for name in ("input_tokens", "output_tokens"):
            tokens = getattr(call, name)
            if tokens is not None and tokens > _MOST_TOKENS:
                where = f"run {log.run_id}, call {call.call_index}, {name}"
                raise ConfigError(
                    "out of range", field=where, file=source, given=tokens, allowed=f"up to {_MOST_TOKENS:,}"
                )


def _run(log: RunLog, calls: tuple[RecordedCall, ...], assumed: Counter[str]) -> RecordedRun:
    line = log.line
    outcome = None if line is None else line.outcome
    complete = outcome in (None, "ok", "late")
    if not complete:
        assumed["runs that were cut or failed: made again as far as they had come, what followed is unknown"] += 1
    elif outcome is None and any(call.e2e_s is not None for call in log.calls):
        assumed["runs whose end is not recorded: taken to end with their last call"] += 1
    if line is not None and line.parent_run_id is not None:
        assumed["runs started by another run: made again on their own, at their recorded arrival"] += 1
    slo = None if line is None else line.slo
    deadline_s = log.deadline_s
    if deadline_s is not None and deadline_s <= 0.0:
        assumed["deadlines of 0 and less: taken for none"] += 1
        deadline_s = None
    return RecordedRun(
        run_id=log.run_id,
        workflow=log.workflow,
        arrival_s=log.arrival_s,
        deadline_s=deadline_s,
        calls=calls,
        tail_s=_tail_s(log) if complete else 0.0,
        outcome=outcome,
        complete=complete,
        elapsed_s=log.elapsed_s,
        met=log.met_slo,
        cost_usd=None if line is None else line.cost_usd,
        priority=0 if slo is None else round(slo.priority or 0.0),
        tenant=(None if line is None else line.tenant) or "default",
        max_cost_usd=None if slo is None else slo.max_cost_usd,
        skipped=0 if line is None else len(line.skipped),
    )


def _tail_s(log: RunLog) -> float:
    ends_s = [_end_s(call) for call in log.calls]
    known = [end_s for end_s in ends_s if end_s is not None]
    if log.elapsed_s is None or len(known) < len(ends_s):
        return 0.0
    return max(0.0, log.elapsed_s - max(known))


def _end_s(call: CallLog) -> float | None:
    return None if call.start_s is None or call.e2e_s is None else call.start_s + call.e2e_s


def _answered(call: CallLog) -> bool:
    return call.status in (None, "ok")


def _skipped(call: CallLog) -> bool:
    """Whether its optional step was left out: there was nothing to answer, and how long it would have been is not
    known."""
    return call.status == FailureKind.SKIPPED


class _Sizes:
    """Median tokens of answered calls: of the step, else of the workflow, else of all."""

    def __init__(self, calls: Sequence[CallLog]) -> None:
        inputs: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
        outputs: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
        for call in calls:
            for key in self._keys(call):
                if call.input_tokens is not None:
                    inputs[key].append(call.input_tokens)
                if call.output_tokens is not None and _answered(call):
                    outputs[key].append(call.output_tokens)
        self.known = bool(inputs) and bool(outputs)
        self._inputs = {key: round(median(some)) for key, some in inputs.items()}
        self._outputs = {key: round(median(some)) for key, some in outputs.items()}

    @staticmethod
    def _keys(call: CallLog) -> tuple[tuple[str | None, ...], ...]:
        return (call.workflow, call.step), (call.workflow,), ()

    def input_tokens(self, call: CallLog) -> int:
        return next(self._inputs[key] for key in self._keys(call) if key in self._inputs)

    def output_tokens(self, call: CallLog) -> int:
        return next(self._outputs[key] for key in self._keys(call) if key in self._outputs)


class _Calls:
    """The calls of one run: which are made again, after which others, and how long after."""

    def __init__(self, log: RunLog, sizes: _Sizes, assumed: Counter[str]) -> None:
        self._logs, self._sizes, self._assumed = log.calls, sizes, assumed
        slo = None if log.line is None else log.line.slo
        self._run_quality = None if slo is None else slo.min_quality
        self._told_parents = [tuple(p for p in some if p < i) for i, some in enumerate(log.positions_of_parents())]
        self._dropped = {
            i for i, call in enumerate(self._logs) if not _answered(call) and (_skipped(call) or self._went_on(i))
        }

    def made(self) -> tuple[RecordedCall, ...]:
        """All that are made again; empty if none was answered."""
        kept = [i for i in range(len(self._logs)) if i not in self._dropped]
        if not any(_answered(self._logs[i]) for i in kept):
            return ()
        skipped = sum(_skipped(self._logs[i]) for i in self._dropped)
        for what, count in (
            ("calls of optional steps that were left out: left out again", skipped),
            (
                "failed calls that the run went on after: left out, with the time they took",
                len(self._dropped) - skipped,
            ),
        ):
            if count:
                self._assumed[what] += count
        number = {i: k for k, i in enumerate(kept)}
        calls: list[RecordedCall] = []
        for i in kept:
            parents, wait_s = self._origin(i)
            numbers = tuple(sorted(number[p] for p in parents))
            calls.append(self._call(i, numbers, wait_s, calls))
        return tuple(calls)

    def _went_on(self, i: int) -> bool:
        """Whether the run made a call after this one had come to nothing."""
        end_s = _end_s(self._logs[i])
        later = self._logs[i + 1 :]
        if end_s is None:
            return bool(later)
        return any(call.start_s is None or call.start_s >= end_s - _TOUCHING_S for call in later)

    # -- what a call waits for ---------------------------------------------------------------------------------------

    def _origin(self, i: int) -> tuple[set[int], float | None]:
        """The calls it waits for, and how long it came after them, seconds."""
        call = self._logs[i]
        parents = self._kept(self._told_parents[i])
        if not parents and i > 0 and (call.start_s is None or call.tool_s is None):
            parents = self._kept(self._guessed_parents(i))
        wait_s = call.tool_s
        if call.start_s is not None and (wait_s is None or not parents):
            ends_s = [_end_s(self._logs[p]) for p in parents]
            known = [end_s for end_s in ends_s if end_s is not None]
            if len(known) == len(ends_s):
                wait_s = max(0.0, call.start_s - max(known, default=0.0))
        if wait_s is None:
            return parents, None if parents else 0.0
        return parents, max(0.0, wait_s - self._spent_in_vain_s(i))

    def _kept(self, parents: Sequence[int]) -> set[int]:
        """A call that is left out hands its own parents on."""
        found: set[int] = set()
        for p in parents:
            found |= self._kept(self._told_parents[p]) if p in self._dropped else {p}
        return found

    def _guessed_parents(self, i: int) -> tuple[int, ...]:
        """Where none is told: the last call to end before it starts; without times, the call before it."""
        start_s = self._logs[i].start_s
        before = [p for p in range(i) if p not in self._dropped]
        if start_s is None:
            return tuple(before[-1:])
        ended = [(end_s, p) for p in before if (end_s := _end_s(self._logs[p])) is not None]
        if len(ended) < len(before):
            return tuple(before[-1:])
        in_time = [(end_s, p) for end_s, p in ended if end_s <= start_s + _TOUCHING_S]
        return (max(in_time)[1],) if in_time else ()

    def _spent_in_vain_s(self, i: int) -> float:
        """Seconds of failed calls that this one repeats: they had the same parents and ended before it began."""
        start_s, told = self._logs[i].start_s, self._told_parents[i]
        if start_s is None:
            return 0.0
        lost_s = 0.0
        for f in self._dropped:
            end_s = _end_s(self._logs[f])
            if f < i and self._told_parents[f] == told and end_s is not None and end_s <= start_s + _TOUCHING_S:
                lost_s += self._logs[f].e2e_s or 0.0
        return lost_s

    # -- what it is --------------------------------------------------------------------------------------------------

    def _call(self, i: int, parents: tuple[int, ...], wait_s: float | None, before: list[RecordedCall]) -> RecordedCall:
        call = self._logs[i]
        input_tokens = max(1, self._input_tokens(call))
        if wait_s is None:
            self._assumed["calls whose time after the one before is not recorded"] += 1
        min_quality = self._run_quality if call.min_quality is None else call.min_quality
        return RecordedCall(
            step=call.step or "?",
            input_tokens=input_tokens,
            output_tokens=max(1, self._output_tokens(call)),
            wait_s=wait_s,
            parents=parents,
            lineage=self._lineage(call, input_tokens, parents, before),
            model=call.model,
            max_tokens=call.max_tokens or None,
            min_quality=min(1.0, max(0.0, min_quality or 0.0)),
            stream=call.stream,
            needs=CAPABILITIES.intersection(call.needs),
            optional=call.optional,
        )

    def _input_tokens(self, call: CallLog) -> int:
        if call.input_tokens is not None:
            return call.input_tokens
        if call.estimated_input_tokens is not None:
            self._assumed["calls whose prompt tokens are an estimate"] += 1
            return call.estimated_input_tokens
        self._assumed["calls without prompt tokens: the median of their step taken"] += 1
        return self._sizes.input_tokens(call)

    def _output_tokens(self, call: CallLog) -> int:
        if _answered(call) and call.output_tokens is not None:
            return call.output_tokens
        what = "answers that were not recorded" if _answered(call) else "calls that were cut or failed"
        self._assumed[f"{what}: the median length of their step taken"] += 1
        return max(call.output_tokens or 0, self._sizes.output_tokens(call))

    @staticmethod
    def _lineage(call: CallLog, input_tokens: int, parents: tuple[int, ...], before: list[RecordedCall]) -> int:
        """A prompt that has room for the prompt and the answer of an earlier call of its step continues them."""
        open_numbers, seen = sorted(parents), set(parents)
        while open_numbers:
            k = open_numbers.pop()
            earlier = before[k]
            if earlier.step == (call.step or "?"):
                grown = input_tokens >= earlier.input_tokens + earlier.output_tokens
                return earlier.lineage if grown else len(before)
            more = [p for p in earlier.parents if p not in seen]
            seen.update(more)
            open_numbers = sorted([*open_numbers, *more])
        return len(before)
