"""Whether a run is short of time: from when on ``on_late`` acts before the deadline."""

from agentsched.workflow.scope import Run

__all__ = ["LAST_SHARE", "short_of_time"]

LAST_SHARE = 0.25
"""In the last quarter of its time a run is short of it, whatever is forecast."""

_FORECAST_COUNTS_FROM = 0.5
"""Before half of the time is spent, a forecast alone is no reason to cut anything short."""


def short_of_time(run: Run, now: float) -> bool:
    """Whether little time is left, or less than the run is forecast to need.

    The forecast is of the seconds that the run still needs, from how its workflow went before, at the ``percentile`` of
    its SLO. A run that is cut by nothing is never short of time.

    Args:
        run: the run.
        now: the present instant, on the run's clock.
    """
    limit_at = run.limit_at
    if limit_at is None:
        return False
    whole_s, left_s = limit_at - run.started_at, limit_at - now
    if left_s <= LAST_SHARE * whole_s:
        return True
    if left_s > _FORECAST_COUNTS_FROM * whole_s:
        return False
    rest = run.forecast()
    return rest is not None and rest.quantile(run.slo.percentile) > left_s
