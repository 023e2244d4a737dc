"""A trace given to the live learner, call by call, as the records of a scheduler would be."""

from collections.abc import Iterator

from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import RunHistory
from agentsched.evaluation.trace import TraceRun
from agentsched.forecast.features import packed_features
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.length_learner import LengthLearner
from agentsched.forecast.relearning import Relearned, Relearning

__all__ = ["Feeder", "Moment", "walk"]

Moment = tuple[int, ModelCall, RunHistory]
"""A call of a run as it is made: its place in the run, the call, and the run's history with the call in it."""


def walk(run: TraceRun, number: int) -> Iterator[Moment]:
    """The calls of a run one after another; once the next one is asked for, the history holds the answer.

    Args:
        run: what was recorded.
        number: tells this run from the others of the trace.
    """
    history = RunHistory()
    for place, recorded in enumerate(run.calls):
        call = ModelCall(
            call_id=f"{_run_id(number)}-{place}",
            run_id=_run_id(number),
            workflow=run.workflow,
            step=recorded.step,
            call_index=place,
            model=recorded.model,
            input_tokens=recorded.input_tokens,
            max_tokens=recorded.max_tokens,
            features=packed_features(recorded.prompt) if recorded.prompt else b"",
        )
        history.arrived(call.step, 0.0)
        yield place, call, history
        history.answered(call.step, recorded.input_tokens, recorded.output_tokens)


class Feeder:
    """A learner, and what it knows now.

    Args:
        relearn: whether workflows are learned anew after changes, as they are live.

    Attributes:
        known: its latest snapshot; every call is in it once it was answered.
        drifts: how often it noticed a change of lengths.
        relearned: what became of learning anew after such changes.
    """

    def __init__(self, *, relearn: bool = True) -> None:
        self._relearn = relearn
        self.known = EmpiricalLengths()
        self.drifts = 0
        self.relearned: list[Relearned] = []
        self._learner = LengthLearner()
        self._relearning = Relearning(self._learner)
        self._now = 0.0

    def play(self, run: TraceRun, number: int) -> Iterator[Moment]:
        """As `walk`; once the next call is asked for, the answer is learned."""
        for place, call, history in walk(run, number):
            yield place, call, history
            arrived_at, self._now = self._now, self._now + 1.0
            self._learn(_record(call, run.calls[place].output_tokens, arrived_at, self._now))
        info = RunInfo(_run_id(number), run.workflow, 0.0)
        self._learner.run_closed(RunClosed(info, self._now, "ok", len(run.calls), 0, 0, 0, 0.0))

    def _learn(self, record: CallEnded) -> None:
        """As the live learner does, but for learning anew: it is done at once, not beside what comes."""
        ended = self._relearning.saw(record, self._learner.call_ended(record))
        for drift in self._learner.take_drifts():
            self.drifts += 1
            self._relearning.changed(drift)
        trial = self._relearning.due() if self._relearn else None
        if trial is not None:
            for _ in trial.work():
                pass
            self.relearned.append(self._relearning.finished(trial))
        if ended is not None:
            self.relearned.append(ended)
        self.known = self._learner.snapshot() or self.known


def _run_id(number: int) -> str:
    return f"trace-{number}"


def _record(call: ModelCall, tokens: int, arrived_at: float, ended_at: float) -> CallEnded:
    return CallEnded(
        call=call,
        arrived_at=arrived_at,
        ended_at=ended_at,
        status="ok",
        endpoint=None,
        attempts=1,
        retries=0,
        queued_s=0.0,
        ttft_s=None,
        input_tokens=call.input_tokens,
        output_tokens=tokens,
        cached_input_tokens=None,
        cost_usd=0.0,
    )
