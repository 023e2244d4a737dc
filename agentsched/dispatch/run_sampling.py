"""Which runs are learned from, so that learning never takes more than its share of a core.

A lesson costs about a tenth of a millisecond, an ended run about one. Where hundreds of calls come in a second that
would be as much CPU as the calls themselves, and the thousandth run of a minute teaches little. Whole runs are left
out: what follows a call is learned from runs, and one of which some calls were missed would look like a shorter one.
"""

__all__ = ["RunSampling"]

_SHARE = 0.02
"""Of one core, in the long run."""

_FIRST_S = 0.3
"""CPU seconds that may be spent at once in the beginning: the first hundred runs teach the most."""

_SAVED_S = 0.03
"""CPU seconds that may be spent beyond the share later on: a burst of calls needs the core more than its lessons do."""

_MOST_OPEN = 10_000


class RunSampling:
    """Lends CPU seconds like a bucket that fills at a constant rate.

    Args:
        now: the present instant, seconds.
        share: CPU seconds per second.
        saved_s: how much the bucket fills up to, CPU seconds.
        first_s: what it begins with, which may be more.
    """

    def __init__(
        self, now: float, *, share: float = _SHARE, saved_s: float = _SAVED_S, first_s: float = _FIRST_S
    ) -> None:
        self._share, self._size = share, saved_s
        self._left, self._at = first_s, now
        self._open: dict[str, bool] = {}
        self.skipped = 0

    def spent(self, cpu_s: float, now: float) -> None:
        """So much CPU was used since the last time."""
        filled = min(self._size, self._left + self._share * max(0.0, now - self._at))
        self._left = max(self._left, filled) - cpu_s
        self._at = now

    def wanted(self, run_id: str) -> bool:
        """Whether the run is learned from: the same answer from its first call to its end."""
        known = self._open.get(run_id)
        if known is None:
            known = self._open[run_id] = self._left > 0.0
            self.skipped += not known
            if len(self._open) > _MOST_OPEN:
                del self._open[next(iter(self._open))]
        return known

    def ended(self, run_id: str) -> bool:
        """As `wanted`; nothing more comes of the run."""
        known = self.wanted(run_id)
        del self._open[run_id]
        return known
