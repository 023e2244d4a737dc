"""What `agentsched forecast eval` says: both ways of looking at a trace, as one document and as pictures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentsched.errors import ConfigError
from agentsched.evaluation.lengths import OURS, UNCALIBRATED, ScoredCalls
from agentsched.evaluation.reliability import reliability_svg
from agentsched.evaluation.scores import Scores

__all__ = ["AFTER_SWITCH", "LengthReport", "WorkflowScores"]

AFTER_SWITCH = (200, 1200)
"""The calls of a workflow by which coverage after a switch is judged: the 201st to the 1,200th."""

_FEWEST = 20
"""Shares of fewer calls than this are not told."""

PER_STEP = "per-step quantiles"


@dataclass(frozen=True, slots=True)
class WorkflowScores:
    """How good the forecasts of one workflow were, online, calls 201 to 1,200 of it.

    ``band_90`` is the 99 % binomial band around .9 for so many calls: a share inside it may be chance.
    """

    workflow: str
    calls: int
    calibrated: Scores
    uncalibrated: Scores
    band_90: tuple[float, float]


@dataclass(frozen=True, slots=True)
class LengthReport:
    """The results on one trace.

    Attributes:
        online: every call forecast from those before it.
        split: learned from four conversations in five, tried on the fifth; None where a part would be empty.
        boosting: the package behind the boosted baseline; None: none was installed, or asked for.
    """

    online: ScoredCalls
    split: ScoredCalls | None
    boosting: str | None

    def after_switch(self) -> list[WorkflowScores]:
        """The workflows that have enough calls after the 200th."""
        places, workflows = self.online.since_switch(), np.array(self.online.workflows)
        low, high = AFTER_SWITCH
        made = []
        for workflow in dict.fromkeys(self.online.workflows):
            chosen: NDArray[np.bool_] = (workflows == workflow) & (places >= low) & (places < high)
            count = int(chosen.sum())
            if count >= _FEWEST:
                scores = self.online.scores(chosen)
                wide = 2.576 * float(np.sqrt(0.09 / count))
                band = (0.9 - wide, min(1.0, 0.9 + wide))
                made.append(WorkflowScores(workflow, count, scores[OURS], scores[UNCALIBRATED], band))
        return made

    def document(self) -> dict[str, Any]:
        """The one JSON document."""
        online = self.online.scores()
        return {
            "unit": "tokens",
            "boosting": self.boosting,
            "online": {
                "calls": self.online.outcomes.size,
                "drifts": self.online.drifts,
                "forecasters": _document(online),
                "below_per_step": 1.0 - online[OURS].mean_pinball / max(1e-12, online[PER_STEP].mean_pinball),
                "after_switch": [asdict(one) for one in self.after_switch()],
            },
            "split": None
            if self.split is None
            else {"calls": self.split.outcomes.size, "forecasters": _document(self.split.scores())},
        }

    def write_plots(self, folder: Path) -> list[Path]:
        """Write reliability plots into a folder, which is made if need be, and tell their names.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        workflows = np.array(self.online.workflows)
        kinds = {one: self.online.levels[workflows == one] for one in dict.fromkeys(self.online.workflows)}
        pictures = {"online": reliability_svg("online", {"all": self.online.levels} | _longest(kinds))}
        if self.split is not None:
            pictures["split"] = reliability_svg("held-out conversations", {"all": self.split.levels})
        try:
            folder.mkdir(parents=True, exist_ok=True)
            written = [folder / f"reliability-{name}.svg" for name in pictures]
            for path, picture in zip(written, pictures.values(), strict=True):
                path.write_text(picture, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot be written: {error.strerror or error}", file=str(folder)) from error
        return written


def _longest(kinds: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """The workflows with the most calls first."""
    return dict(sorted(kinds.items(), key=lambda item: -item[1].size))


def _document(scores: Mapping[str, Scores]) -> dict[str, Any]:
    return {name: asdict(one) for name, one in scores.items()}
