"""Trains a forecaster of lengths in the background: in a process of its own, of the lowest priority, within a budget.

Nothing here imports torch, and nothing waits for it: a thread waits for the process. New weights come back as a
`Trained`; who takes them puts them into force (`ForecastsReplaced`). For their first calls they are on probation: their
predecessor is asked too, and comes back if it forecasts better what neither was trained on.
"""

import contextvars
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentsched import clock
from agentsched.core.forecast import LEVELS
from agentsched.forecast.example_ring import ExampleRing
from agentsched.forecast.quantile_net import ExpertMixture, QuantileNet
from agentsched.state.weights import unpacked_weights

__all__ = ["BackgroundTraining", "Trained", "can_train"]

_EXAMPLES = 4_096
_FIRST = 400
"""Examples from which on a forecaster is trained."""

_GROWTH, _AFTER_CHANGE = 1.25, 100
"""It is trained anew when there have been so many times as many, or so many more after lengths have changed."""

_REST = 20.0
"""It rests this many times as long as it took: a twentieth of a core at most."""

_STARTING_S = 120.0
"""Beyond its budget a process has so long, seconds; then it is ended."""

_PROBATION = 200
_MAY_LOSE = 1.02
"""As of lengths that were learned anew (`agentsched.forecast.relearning`)."""

Net = QuantileNet | ExpertMixture


@dataclass(frozen=True, slots=True)
class Trained:
    """A forecaster was trained.

    Attributes:
        made, content: it, and as bytes.
        calls: it was trained on.
        loss, loss_before: mean pinball loss over all levels, of it and of its predecessor, on the latest 15 % of the
            calls, which it was not trained on, tokens; ``loss_before`` None: there was no predecessor.
        seconds: it took.
    """

    made: Net
    content: bytes
    calls: int
    loss: float
    loss_before: float | None
    seconds: float

    @property
    def better(self) -> bool:
        """Whether it is worth taking."""
        return self.loss_before is None or self.loss < self.loss_before


def can_train() -> bool:
    """Whether torch is installed; it is not imported."""
    return find_spec("torch") is not None


class BackgroundTraining:
    """Gathers examples, trains now and then, and watches over what was trained. One thread calls it, the learner's.

    Args:
        kind: ``network`` or ``experts``.
        budget_s: for which it is trained at a time, seconds.
        done: takes what came of it, in another thread; a text says why nothing came.
    """

    def __init__(self, kind: str, budget_s: float, done: Callable[[Trained | str], None]) -> None:
        self.kind = kind
        self._budget_s, self._done = budget_s, done
        self._ring = ExampleRing(_EXAMPLES)
        self._next = float(_FIRST)
        self._rest_until = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._current: Net | None = None
        self._content = b""
        self._former: tuple[Net, bytes] | None = None
        self._losses = [0.0, 0.0]
        self._judged = 0
        self._rounds = 0

    # -- examples ----------------------------------------------------------------------------------------------------

    def add(self, inputs: NDArray[np.float64], tokens: int, cut: bool) -> None:
        """One more answer; see `agentsched.forecast.length_learner.LengthLearner.examples`."""
        self._ring.add(inputs, tokens, cut)
        if self._former is not None and self._current is not None and not cut:
            for k, one in enumerate((self._current, self._former[0])):
                error = tokens - one.predict(inputs).values
                self._losses[k] += float(np.maximum(LEVELS * error, (LEVELS - 1.0) * error).mean())
            self._judged += 1

    def changed(self) -> None:
        """Lengths have changed: it is trained anew soon."""
        self._next = min(self._next, max(float(_FIRST), float(self._ring.seen + _AFTER_CHANGE)))

    # -- what is in use ----------------------------------------------------------------------------------------------

    def use(self, made: Net, content: bytes) -> None:
        """This one is in use from now on; one that was before is its predecessor in its probation."""
        self._former = None if self._current is None else (self._current, self._content)
        self._current, self._content = made, content
        self._losses, self._judged = [0.0, 0.0], 0

    def verdict(self) -> tuple[Net, float, float] | None:
        """At the end of a probation what is to be in use, and the mean losses of the newer and the older one.

        Where that is the older one it is in use again. None: there is no probation, or it goes on.
        """
        if self._former is None or self._judged < _PROBATION:
            return None
        new, old = (loss / self._judged for loss in self._losses)
        if new > _MAY_LOSE * old:
            self._current, self._content = self._former
        self._former = None
        assert self._current is not None
        return self._current, new, old

    # -- training ----------------------------------------------------------------------------------------------------

    def perhaps(self) -> None:
        """Begin to train if it is time to. Returns at once."""
        now = clock.monotonic()
        busy = self._thread is not None and self._thread.is_alive()
        if self._closed or busy or self._ring.seen < self._next or now < self._rest_until or self._former is not None:
            return
        self._next = self._ring.seen * _GROWTH
        self._rounds += 1
        self._thread = threading.Thread(target=self._work, args=self._request(), name="agentsched-train", daemon=True)
        contextvars.Context().run(self._thread.start)

    def _request(self) -> tuple[dict[str, NDArray[np.generic]], int]:
        inputs, tokens, cut = self._ring.latest()
        return {
            "inputs": inputs,
            "tokens": tokens,
            "cut": cut,
            "kind": np.array(self.kind),
            "budget_s": np.array(self._budget_s),
            "seed": np.array(self._rounds),
            "start": np.frombuffer(self._content, dtype=np.uint8),
        }, tokens.size

    def _work(self, request: dict[str, NDArray[np.generic]], calls: int) -> None:
        began = clock.monotonic()
        result = self._trained(request, calls)
        self._rest_until = clock.monotonic() + _REST * (clock.monotonic() - began)
        if not self._closed:
            self._done(result)

    def _trained(self, request: dict[str, NDArray[np.generic]], calls: int) -> Trained | str:
        packed = BytesIO()
        np.savez(packed, allow_pickle=False, **request)
        try:
            status, answer, said = self._run(packed.getvalue())
        except OSError as error:
            return f"no process could be started: {error.strerror or error}"
        if status != 0:
            return f"the process ended with status {status}: {said.strip().rpartition(chr(10))[2][:200]}"
        try:
            read = np.load(BytesIO(answer), allow_pickle=False)
            content = read["weights"].tobytes()
            before = float(read["loss_before"])
            return Trained(
                unpacked_weights(content),
                content,
                calls,
                float(read["loss"]),
                None if np.isnan(before) else before,
                float(read["seconds"]),
            )
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            return f"the process answered nonsense: {error}"

    def _run(self, request: bytes) -> tuple[int, bytes, str]:
        """Status, stdout and stderr of the process."""
        folder = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
        with subprocess.Popen(
            [sys.executable, "-m", "agentsched.training.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
        ) as process:
            self._process = process
            if self._closed:
                process.kill()
            try:
                answer, said = process.communicate(request, timeout=self._budget_s + _STARTING_S)
            except subprocess.TimeoutExpired:
                process.kill()
                answer, said = process.communicate()
            self._process = None
            return process.returncode, answer, said.decode("utf-8", "replace")

    def close(self) -> None:
        """End what is being trained; what comes afterwards may begin anew."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        if self._thread is not None:
            self._thread.join(10.0)
        self._closed = False
