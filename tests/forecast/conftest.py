from collections.abc import Iterable, Sequence

import pytest

from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import RunHistory


class Runs:
    """Plays runs of calls one after another to a learner, and asks forecasters about unfinished ones."""

    def __init__(self) -> None:
        self.count = 0

    def teach(
        self,
        learner,
        steps: Sequence[str],
        *,
        workflow: str = "w",
        outcome: str = "ok",
        outputs: Sequence[int] | None = None,
        features: Sequence[bytes] | None = None,
    ) -> None:
        self.count += 1
        run = f"r{self.count}"
        for i in range(len(steps)):
            learner.call_ended(
                CallEnded(
                    call=self.call(steps[: i + 1], run, workflow, features[i] if features else b""),
                    arrived_at=float(i),
                    ended_at=i + 1.0,
                    status="ok",
                    endpoint="e",
                    attempts=1,
                    retries=0,
                    queued_s=0.0,
                    ttft_s=None,
                    input_tokens=100 * (i + 1),
                    output_tokens=outputs[i] if outputs else 10,
                    cached_input_tokens=None,
                    cost_usd=0.0,
                )
            )
        learner.run_closed(RunClosed(RunInfo(run, workflow, 0.0), float(len(steps)), outcome, len(steps), 1, 1, 1, 0.0))

    @staticmethod
    def call(steps: Sequence[str], run: str = "now", workflow: str = "w", features: bytes = b"", **more) -> ModelCall:
        i = len(steps) - 1
        parents = (f"{run}.{i - 1}",) if i else ()
        return ModelCall(
            f"{run}.{i}",
            run,
            workflow,
            steps[-1],
            i,
            "m",
            input_tokens=100 * len(steps),
            parents=parents,
            features=features,
            **more,
        )

    @staticmethod
    def history(steps: Iterable[str], output_tokens: int = 10) -> RunHistory:
        history = RunHistory()
        *past, last = steps
        for step in past:
            history.arrived(step, 0.0)
            history.answered(step, 100, output_tokens)
        history.arrived(last, 0.0)
        return history

    def ask(self, known, *steps: str, **more):
        return known.predict(self.call(steps, **more), self.history(steps))


@pytest.fixture
def runs() -> Runs:
    return Runs()
