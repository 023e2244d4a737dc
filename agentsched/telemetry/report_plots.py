"""The plots of the HTML report, as SVG."""

from collections.abc import Mapping
from html import escape

from agentsched.telemetry.report import WorkflowReport
from agentsched.telemetry.timeline import KINDS

__all__ = ["latency_curve", "time_bar"]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM, _TOP = 640, 240, 44, 14, 28, 10

_COLOURS = {
    "queue": "#d9a400",
    "lost": "#c0392b",
    "prefill": "#2e86c1",
    "decode": "#239b56",
    "model": "#58d68d",
    "tool": "#95a5a6",
}


class _Axes:
    """Maps (seconds, share) to the picture and collects what is drawn there."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._drawn: list[str] = []
        for share in (0.0, 0.5, 1.0):
            x, y = self.place(0.0, share)
            self._text(x - 6, y + 4, f"{share:.0%}", "end")
        for part in (0.0, 0.25, 0.5, 0.75, 1.0):
            x, y = self.place(part * longest_s, 0.0)
            self._text(x, y + 18, f"{part * longest_s:.3g} s", "middle")
        self.line((0.0, 0.0), (longest_s, 0.0), "#222")

    def place(self, seconds: float, share: float) -> tuple[float, float]:
        x = _LEFT + seconds / self._longest_s * (_WIDTH - _LEFT - _RIGHT)
        return x, _TOP + (1.0 - share) * (_HEIGHT - _TOP - _BOTTOM)

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: str, *, dash: str = "none") -> None:
        (x1, y1), (x2, y2) = self.place(*start), self.place(*end)
        ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        self._drawn.append(f'<line {ends} stroke="{colour}" stroke-dasharray="{dash}"/>')

    def curve(self, points: list[tuple[float, float]], colour: str) -> None:
        placed = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.place(*point) for point in points))
        self._drawn.append(f'<polyline points="{placed}" fill="none" stroke="{colour}" stroke-width="2"/>')

    def _text(self, x: float, y: float, text: str, anchor: str) -> None:
        self._drawn.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12">{text}</text>')

    def svg(self) -> str:
        return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}">{"".join(self._drawn)}</svg>'


def latency_curve(one: WorkflowReport) -> str:
    """The share of runs that had ended by a time, with the deadline and the goal; empty without runs."""
    if not one.curve_s or one.curve_s[-1] <= 0:
        return ""
    longest_s = 1.05 * max(one.curve_s[-1], one.deadline_s or 0.0)
    axes, caption = _Axes(longest_s), "Share of the runs that had ended by then"
    if one.deadline_s is not None:
        axes.line((one.deadline_s, 0.0), (one.deadline_s, 1.0), "#c0392b", dash="4 3")
        caption += f"; red: the deadline, {one.deadline_s:g} s"
    if one.attainment is not None:
        axes.line((0.0, one.attainment.goal), (longest_s, one.attainment.goal), "#999", dash="4 3")
        caption += f"; grey: the goal, {one.attainment.goal:.0%}"
    last = len(one.curve_s) - 1
    axes.curve([(seconds, i / last) for i, seconds in enumerate(one.curve_s)], "#2e86c1")
    return _figure(axes.svg(), escape(caption))


def time_bar(shares: Mapping[str, float]) -> str:
    """One bar: what the runs' time went to; empty when nothing is known."""
    shown = [(kind, shares[kind]) for kind in KINDS if shares.get(kind, 0.0) > 0.0]
    bars, at = [], 0.0
    for kind, share in shown:
        width = share * _WIDTH
        bars.append(f'<rect x="{at:.1f}" width="{width:.1f}" height="22" fill="{_COLOURS[kind]}"/>')
        at += width
    legend = (f'<span style="color:{_COLOURS[kind]}">&#9632;</span> {kind} {share:.0%}' for kind, share in shown)
    svg = f'<svg viewBox="0 0 {_WIDTH} 22" width="{_WIDTH}">{"".join(bars)}</svg>'
    return _figure(svg, f"What the runs' time went to: {', '.join(legend)}") if shown else ""


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"
