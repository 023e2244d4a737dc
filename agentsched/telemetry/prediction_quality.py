"""How good the predictions turned out that placed a log's attempts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from agentsched.telemetry.run_log import AttemptLog, DecisionEntry, RunLog

__all__ = ["Predictions", "prediction_quality"]

_CUT = frozenset({"left", "silent", "stalled", "deadline", "patience"})
"""Ends of attempts whose answer would have taken longer than they lasted."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """How good the predictions made when an attempt was placed turned out.

    Attributes:
        answers: attempts with a predicted 95th percentile whose time could be compared with it; one that was cut off
            beyond it counts as not covered, one that was cut off before it is left out.
        p95_coverage: share of them that took at most that long.
        e2e_error_s, e2e_error_share: median absolute error of the predicted median, in seconds and of the real time.
        ttft_error_s: the same of the time to the first token, seconds.
        odds: runs whose first decision told a probability of meeting the deadline.
        mean_p_meet, met_share: what it said on average, and what came true.
        brier: mean squared difference of the two; 0 is perfect, always saying one half scores .25.
    """

    answers: int
    p95_coverage: float | None
    e2e_error_s: float | None
    e2e_error_share: float | None
    ttft_error_s: float | None
    odds: int
    mean_p_meet: float | None
    met_share: float | None
    brier: float | None


def prediction_quality(runs: Sequence[RunLog]) -> Predictions:
    """Compare what was predicted for these runs with what came."""
    pairs = [pair for run in runs for pair in _placed(run)]
    covered = [hit for attempt, placed in pairs if (hit := _covered(attempt, placed)) is not None]
    answered = [attempt for run in runs for attempt in run.attempts if attempt.status == "ok"]
    e2e = [(one.e2e_s, one.predicted_e2e_s) for one in answered]
    ttft = [(one.ttft_s, one.predicted_ttft_s) for one in answered]
    odds = [
        (p_meet, float(run.met_slo)) for run in runs if run.met_slo is not None and (p_meet := _odds(run)) is not None
    ]
    return Predictions(
        answers=len(covered),
        p95_coverage=float(np.mean(covered)) if covered else None,
        e2e_error_s=_median_error(e2e, lambda real: 1.0),
        e2e_error_share=_median_error(e2e, lambda real: real),
        ttft_error_s=_median_error(ttft, lambda real: 1.0),
        odds=len(odds),
        mean_p_meet=float(np.mean([said for said, _ in odds])) if odds else None,
        met_share=float(np.mean([came for _, came in odds])) if odds else None,
        brier=float(np.mean([(said - came) ** 2 for said, came in odds])) if odds else None,
    )


def _placed(run: RunLog) -> list[tuple[AttemptLog, DecisionEntry]]:
    placed = {one.attempt_id: one for call in run.calls for one in call.decisions if one.attempt_id is not None}
    return [(attempt, placed[attempt.attempt_id]) for attempt in run.attempts if attempt.attempt_id in placed]


def _covered(attempt: AttemptLog, placed: DecisionEntry) -> bool | None:
    if attempt.e2e_s is None or placed.predicted_e2e_p95_s is None:
        return None
    within = attempt.e2e_s <= placed.predicted_e2e_p95_s
    if attempt.status == "ok":
        return within
    return False if attempt.status in _CUT and not within else None


def _odds(run: RunLog) -> float | None:
    """What the run's first decision said of its deadline."""
    return next((one.p_meet for call in run.calls for one in call.decisions), None)


def _median_error(pairs: Iterable[tuple[float | None, float | None]], unit: Callable[[float], float]) -> float | None:
    errors = [
        abs(real - said) / unit(real)
        for real, said in pairs
        if real is not None and said is not None and unit(real) > 0
    ]
    return float(np.median(errors)) if errors else None
