"""Learns from users' scores how good the answers of each model are; off the hot path."""

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from agentsched.core.call import ModelCall
from agentsched.core.quality import Judgement
from agentsched.core.records import CallEnded, Feedback
from agentsched.forecast.features import word_rows
from agentsched.forecast.quality import EmpiricalQualities, Judged, Prompts, QualityKey

__all__ = ["QualityLearner"]

_MOST_COUNT = 400.0
"""Scores over which a group averages; older ones fade."""

_MAX_GROUPS = 4096
_MAX_RUNS = 2_000
_CALLS_OF_A_RUN = 64
_MAX_PROMPTS = 512

_JUDGED_AT_LEAST = 50
_MUST_GAIN = 0.98
"""Neighbours are asked once they have lost less than this share of what going without them lost."""

_LOSS_MEMORY = 0.99


class QualityLearner:
    """Remembers which models answered the calls of a run until the run is scored. Bounded; one thread learns.

    Args:
        models: endpoint -> model.
    """

    def __init__(self, models: Mapping[str, str]) -> None:
        self._models = MappingProxyType(dict(models))
        self._runs: dict[str, dict[QualityKey, ModelCall]] = {}
        self._groups: dict[QualityKey, Judged] = {}
        self._prompts: deque[tuple[bytes, float]] = deque(maxlen=_MAX_PROMPTS)
        self._losses = [0.0, 0.0]
        self._judged = 0
        self._changed = False

    def call_ended(self, record: CallEnded) -> None:
        """One call of a run is over; the first of each step and model stands for the others."""
        if record.status != "ok" or record.endpoint is None:
            return
        call = record.call
        answered = self._runs.setdefault(call.run_id, {})
        if len(answered) < _CALLS_OF_A_RUN:
            answered.setdefault((call.workflow, call.step, self._model(record.endpoint)), call)
        if len(self._runs) > _MAX_RUNS:
            del self._runs[next(iter(self._runs))]

    def _model(self, endpoint: str) -> str:
        return self._models.get(endpoint, endpoint)

    def scored(self, feedback: Feedback) -> tuple[Judgement, ...]:
        """A user scored a run, from 0 to 1: all who took part in it are given that score; a second one is ignored.

        Returns:
            What it teaches: told to `recalled` of another learner it teaches the same.
        """
        made = tuple(
            Judgement(workflow, step, model, call.features, feedback.score)
            for (workflow, step, model), call in self._runs.pop(feedback.run_id, {}).items()
        )
        for one in made:
            self.recalled(one)
        return made

    def recalled(self, judgement: Judgement) -> None:
        """One answer's score, as it was told to a learner before."""
        call = ModelCall("", "", judgement.workflow, judgement.step, 0, "", features=judgement.features)
        self.judged(call, judgement.model, judgement.score)

    def judged(self, call: ModelCall, model: str, score: float) -> None:
        """One answer's score, from 0 to 1."""
        known = EmpiricalQualities(self._groups)
        forecast = known.predict(call, [model], np.array([0.5]))
        if forecast is not None and call.features:
            self._judge_neighbours(call, float(forecast.mean[0]), score)
        for key in (("", "", model), (call.workflow, call.step, model)):
            old = self._groups.pop(key, Judged(0.0, 0.0))
            count = min(_MOST_COUNT, old.count + 1.0)
            self._groups[key] = Judged(count, old.mean + (score - old.mean) / count)
        while len(self._groups) > _MAX_GROUPS:
            del self._groups[next(iter(self._groups))]
        self._changed = True

    def _judge_neighbours(self, call: ModelCall, expected: float, score: float) -> None:
        """What was lost with and without neighbours, and one prompt more to be a neighbour."""
        corrected = min(1.0, max(0.0, expected + self._known_prompts().correction(call.features)))
        for k, forecast in enumerate((expected, corrected)):
            self._losses[k] = _LOSS_MEMORY * self._losses[k] + (score - forecast) ** 2
        self._judged += 1
        self._prompts.append((call.features, score - expected))

    def _known_prompts(self) -> Prompts:
        return Prompts(
            word_rows([features for features, _ in self._prompts]),
            np.array([residual for _, residual in self._prompts], dtype=np.float64),
        )

    def snapshot(self) -> EmpiricalQualities | None:
        """What is believed now; None when nothing was learned since the last snapshot."""
        if not self._changed:
            return None
        self._changed = False
        pays = self._judged >= _JUDGED_AT_LEAST and self._losses[1] < _MUST_GAIN * self._losses[0]
        return EmpiricalQualities(
            MappingProxyType(dict(self._groups)), self._models, self._known_prompts() if pays else None
        )
