"""How many second tries the pool may be asked for: a share of all calls, so that a retry storm feeds on nothing."""

__all__ = ["ShareBudget"]

_MOST_SAVED = 100.0


class ShareBudget:
    """Every call pays in ``share``; every extra attempt takes one. Starts with ``reserve`` and saves up to 100 more."""

    __slots__ = ("_balance", "_most", "_share", "spent")

    def __init__(self, share: float, reserve: float) -> None:
        self._share = share
        self._balance = reserve
        self._most = reserve + _MOST_SAVED
        self.spent = 0

    def deposit(self) -> None:
        """A call arrived."""
        self._balance = min(self._most, self._balance + self._share)

    @property
    def available(self) -> bool:
        """Whether one more is allowed."""
        return self._balance >= 1.0

    def take(self) -> None:
        """One more was started."""
        self._balance -= 1.0
        self.spent += 1
