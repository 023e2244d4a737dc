"""The picture of a frontier; needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from agentsched.sim.frontier import Point

__all__ = ["draw_frontier"]

_MARKERS = "osD^vP*X"


def draw_frontier(points: Sequence[Point], path: Path) -> None:
    """Write quality against cost, the colour being the P95 latency; what lies on the frontier has a black edge."""
    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    axes = figure.subplots()
    latencies = [point.result.latency_p95_s.mean for point in points]
    names = list(dict.fromkeys(point.result.case.policy.partition(":")[0] for point in points))
    for number, name in enumerate(names):
        own = [point for point in points if point.result.case.policy.partition(":")[0] == name]
        drawn = axes.scatter(
            [point.result.cost_usd.mean for point in own],
            [0.0 if point.result.quality is None else point.result.quality.mean for point in own],
            c=[point.result.latency_p95_s.mean for point in own],
            marker=_MARKERS[number % len(_MARKERS)],
            edgecolors=["black" if point.on_frontier else "none" for point in own],
            s=60,
            label=name,
            vmin=min(latencies),
            vmax=max(latencies),
        )
    figure.colorbar(drawn, label="P95 latency, s")
    axes.set_xlabel("USD per run")
    axes.set_ylabel("mean quality of a run")
    axes.legend(fontsize=8)
    figure.savefig(path, format="png", dpi=110)
