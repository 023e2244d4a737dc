"""What is promised of forecasts of lengths, on one trace."""

from dataclasses import dataclass

from agentsched.evaluation.length_report import PER_STEP, LengthReport
from agentsched.evaluation.lengths import OURS, UNCALIBRATED

__all__ = ["BOOSTED", "LengthBar", "length_bars"]

BOOSTED = "boosted quantiles"

_BELOW_STEPS = 0.12
_LOW, _HIGH = 0.88, 0.92
_MOST_WORSE = 1.005
"""A pinball loss within half a percent is no worse: calibration follows chance a little."""

_STEPS_MATTER = 2
"""Of calls of one step alone nothing is promised against the step's quantiles."""


@dataclass(frozen=True, slots=True)
class LengthBar:
    """A promise and how it was kept; ``met`` None: this trace says nothing of it."""

    text: str
    measured: str
    met: bool | None


def length_bars(report: LengthReport, steps: int) -> list[LengthBar]:
    """How the promises were kept online, every call forecast from those before it.

    Args:
        report: of the trace.
        steps: how many steps of workflows it has.
    """
    scores = report.online.scores()
    ours, raw, per_step = scores[OURS], scores[UNCALIBRATED], scores[PER_STEP]
    below = 1.0 - ours.mean_pinball / max(1e-12, per_step.mean_pinball)
    bars = [
        LengthBar(
            "pinball loss at least 12 % below the quantiles of the step",
            f"{below:+.1%} of {per_step.mean_pinball:.2f} tokens below",
            below >= _BELOW_STEPS if steps >= _STEPS_MATTER else None,
        )
    ]
    if BOOSTED in scores:
        ratio = ours.mean_pinball / max(1e-12, scores[BOOSTED].mean_pinball)
        bars.append(
            LengthBar(
                "not worse than boosted trees grown anew on the same history", f"{ratio:.2f} of theirs", ratio <= 1.0
            )
        )
    bars.append(
        LengthBar("the inner 90 % hold 88 to 92 %", f"{ours.interval_90:.1%}", _LOW <= ours.interval_90 <= _HIGH)
    )
    worse = ours.mean_pinball / max(1e-12, raw.mean_pinball)
    bars.append(
        LengthBar(
            "calibration costs at most half a percent of the pinball loss",
            f"{worse:.3f} of the uncalibrated",
            worse <= _MOST_WORSE,
        )
    )
    for one in report.after_switch():
        share = one.calibrated.interval_90
        low, high = min(_LOW, one.band_90[0]), max(_HIGH, one.band_90[1])
        bars.append(
            LengthBar(
                f"calls 201 to 1,200 of {one.workflow or '(no name)'}: the inner 90 % hold {low:.1%} to {high:.1%}",
                f"{share:.1%} of {one.calls}",
                low <= share <= high,
            )
        )
    return bars
