"""The pictures of the page."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agentsched.demo.pool import PROFILES
from agentsched.demo.results import ArmResult, Outcome

__all__ = ["comparison_png"]

_COLOURS = ("#9aa5b1", "#d08c3f", "#1f7a5c")
"""Of the arms: two that are there to compare with, and ours."""
_ENDPOINT_COLOURS = ("#264653", "#2a9d8f", "#e9c46a", "#e76f51")
_LATE = "#c0392b"


def comparison_png(results: Sequence[ArmResult]) -> bytes:
    """The arms that have figures, as one PNG: who answered by when, who served the requests, each workflow.

    Args:
        results: the arms, in their order; at least one has figures.
    """
    shown = [(result, _COLOURS[index]) for index, result in enumerate(results) if result.figures is not None]
    figure = Figure(figsize=(11.0, 6.6), dpi=110, layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.1, 1.0))[:, 0]
    left, right = upper.subplots(1, 2, width_ratios=(1.5, 1.0))
    _answered_by(left, shown)
    _served_by(right, shown)
    panels = lower.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, (result, colour) in zip(panels, shown, strict=True):
        _each_workflow(axes, result, colour)
    panels[0].set_ylabel("latency / deadline")
    picture = BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _answered_by(axes: Axes, shown: Sequence[tuple[ArmResult, str]]) -> None:
    """Share of all workflows that had been answered by a time; those never answered keep the curve below one."""
    for result, colour in shown:
        answered = sorted(e.latency_s / result.deadline_s for e in result.ended if e.outcome == Outcome.ANSWERED)
        shares = np.arange(1, len(answered) + 1) / len(result.ended)
        times, heights = [0.0, *answered, 2.0], [0.0, *shares, shares[-1] if answered else 0.0]
        axes.step(times, heights, where="post", color=colour, linewidth=2, label=result.arm)
    axes.axvline(1.0, color=_LATE, linestyle="--", linewidth=1)
    axes.text(1.02, 0.03, "deadline", color=_LATE)
    axes.set(xlim=(0, 2), ylim=(0, 1.02), xlabel="latency / deadline", title="Share of workflows answered by then")
    axes.legend(loc="upper left", frameon=False)
    _quiet(axes)


def _served_by(axes: Axes, shown: Sequence[tuple[ArmResult, str]]) -> None:
    """Which endpoints the requests went to."""
    names = [result.arm for result, _ in shown][::-1]
    left = np.zeros(len(shown))
    for colour, endpoint in zip(_ENDPOINT_COLOURS, PROFILES, strict=True):
        counts = np.array([result.endpoints[endpoint].requests for result, _ in shown][::-1], dtype=float)
        totals = np.array([sum(c.requests for c in result.endpoints.values()) for result, _ in shown][::-1])
        shares = counts / np.maximum(1, totals)
        axes.barh(names, shares, left=left, color=colour, label=endpoint, height=0.6)
        left += shares
    axes.set(xlim=(0, 1), title="Requests by endpoint, fastest first")
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=len(PROFILES), frameon=False)
    _quiet(axes)


def _each_workflow(axes: Axes, result: ArmResult, colour: str) -> None:
    """Each workflow where it arrived; a cross if it was not answered in time."""
    for met, mark, paint in ((True, "o", colour), (False, "x", _LATE)):
        chosen = [ended for ended in result.ended if result.met(ended) == met]
        ratios = [ended.latency_s / result.deadline_s for ended in chosen]
        axes.scatter([ended.arrival_s for ended in chosen], ratios, s=16, marker=mark, color=paint)
    axes.axhline(1.0, color=_LATE, linestyle="--", linewidth=1)
    axes.set(title=result.arm, xlabel="arrival, s", ylim=(0, 2.1))
    _quiet(axes)


def _quiet(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
