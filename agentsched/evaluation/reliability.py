"""Reliability plots: how often outcomes lay below each level, beside how often they should."""

from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

__all__ = ["reliability_svg", "shares_below"]

Array = NDArray[np.float64]

_SIZE, _MARGIN = 360, 44
_COLOURS = ("#2e86c1", "#d9a400", "#239b56", "#8e44ad", "#c0392b", "#5d6d7e")
_MOST_CURVES = len(_COLOURS)

POINTS = tuple((k + 0.5) / 20 for k in range(20))
"""Levels that are plotted."""


def shares_below(levels: Array) -> Array:
    """The share of outcomes whose level in their forecast was at most each of `POINTS`."""
    return np.searchsorted(np.sort(levels), POINTS, side="right") / max(1, levels.size)


def reliability_svg(title: str, curves: Mapping[str, Array]) -> str:
    """A picture of the levels of outcomes in their forecasts; on the diagonal forecasts hold what they promise.

    Args:
        title: stands above it.
        curves: name -> levels in [0, 1] of outcomes; the first six are drawn.
    """
    drawn = [
        f'<text x="{_SIZE / 2 + _MARGIN}" y="16" text-anchor="middle" font-size="13">{escape(title)}</text>',
        f'<rect x="{_MARGIN}" y="{_MARGIN / 2}" width="{_SIZE}" height="{_SIZE}" fill="none" stroke="#222"/>',
        _line([(0.0, 0.0), (1.0, 1.0)], "#999", dash="4 3"),
    ]
    for share in (0.0, 0.5, 1.0):
        x, y = _place(share, 0.0)
        drawn.append(f'<text x="{x}" y="{y + 16}" text-anchor="middle" font-size="11">{share:.0%}</text>')
        x, y = _place(0.0, share)
        drawn.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end" font-size="11">{share:.0%}</text>')
    for place, (name, levels) in enumerate(list(curves.items())[:_MOST_CURVES]):
        colour = _COLOURS[place]
        drawn.append(_line(list(zip(POINTS, shares_below(levels).tolist(), strict=True)), colour))
        label = f"{escape(name or '(no name)')} ({levels.size})"
        drawn.append(
            f'<text x="{_MARGIN + 10}" y="{_MARGIN + 14 * place}" font-size="11" fill="{colour}">{label}</text>'
        )
    width, height = _SIZE + 2 * _MARGIN, _SIZE + 2 * _MARGIN
    caption = f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle" font-size="11">forecast level</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">'
        f"{''.join(drawn)}{caption}</svg>\n"
    )


def _place(level: float, share: float) -> tuple[float, float]:
    return _MARGIN + level * _SIZE, _MARGIN / 2 + (1.0 - share) * _SIZE


def _line(points: list[tuple[float, float]], colour: str, *, dash: str = "none") -> str:
    placed = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_place(*point) for point in points))
    return f'<polyline points="{placed}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
