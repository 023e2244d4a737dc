"""What the learner does with a forecaster that is trained in the background: takes it, keeps it, takes it back."""

from collections.abc import Callable, Sequence

from agentsched.dispatch.remembering import Memory
from agentsched.dispatch.training import BackgroundTraining, Trained
from agentsched.errors import ConfigError
from agentsched.forecast.length_learner import LengthLearner
from agentsched.state.profiles import StoredWeights
from agentsched.state.weights import unpacked_weights

__all__ = ["Training"]


class Training:
    """Used by the learner's thread alone.

    Args:
        kind: ``network`` or ``experts``.
        budget_s: seconds for one training.
        done: takes what came of one, in another thread, and hands it to `came` in the learner's.
        lengths: the learner, whose answers it is trained on and whose views it joins.
        memory: keeps every version that is taken; None: nothing does.
        told: is told in words what happened.
    """

    def __init__(
        self,
        kind: str,
        budget_s: float,
        done: Callable[[Trained | str], None],
        lengths: LengthLearner,
        memory: Memory | None,
        told: Callable[[str], None] | None,
    ) -> None:
        self._lengths, self._memory, self._told = lengths, memory, told
        self._aside = BackgroundTraining(kind, budget_s, done)
        self._version: int | None = None
        self._last = 0
        lengths.examples = self._aside.add
        self.changed = self._aside.changed
        self.close = self._aside.close

    def recall(self, stored: Sequence[StoredWeights]) -> None:
        """Begin with what an earlier process trained."""
        for one in stored:
            if one.kind == self._aside.kind:
                try:
                    made = unpacked_weights(one.content)
                except (ConfigError, ValueError) as error:
                    self._tell(f"version {one.version} cannot be used and is left aside: {error}")
                    continue
                self._last = self._version = one.version
                self._aside.use(made, one.content)
                self._lengths.use(made)

    def came(self, result: Trained | str) -> None:
        """A training is over."""
        if isinstance(result, str):
            self._tell(f"training came to nothing: {result}")
            return
        before = "" if result.loss_before is None else f", {result.loss_before:.1f} before"
        what = f"trained on {result.calls} calls in {result.seconds:.1f} s: pinball loss {result.loss:.1f}{before}"
        if not result.better:
            self._tell(f"{what}; not better, and not used")
            return
        kept = None
        if self._memory is not None:
            kept = self._memory.keep_weights(self._aside.kind, result.calls, result.loss, result.content)
        self._last = self._version = self._last + 1 if kept is None else kept
        self._aside.use(result.made, result.content)
        self._lengths.use(result.made)
        self._tell(f"version {self._version} {what}; it forecasts where it does best")

    def go_on(self) -> None:
        """End a probation that is due, and train again if it is time to. Returns at once."""
        verdict = self._aside.verdict()
        if verdict is not None:
            made, new, old = verdict
            figures = f"pinball loss {new:.1f}, {old:.1f} of the one before it"
            if made is self._lengths.trained:
                self._tell(f"version {self._version} stays in use: {figures}")
            else:
                self._lengths.use(made)
                if self._memory is not None and self._version is not None:
                    self._memory.take_weights_back(self._version)
                self._tell(f"version {self._version} is taken back: {figures}")
        self._aside.perhaps()

    def _tell(self, text: str) -> None:
        if self._told is not None:
            self._told(text)
