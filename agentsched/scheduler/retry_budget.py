"""How many second tries the pool may be asked for: a share of all calls, so that a retry storm feeds on nothing."""

__all__ = ["ShareBudget", "TokenBudget"]

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
        if self._balance < self._most:
            self._balance = min(self._most, self._balance + self._share)

    @property
    def available(self) -> bool:
        """Whether one more is allowed."""
        return self._balance >= 1.0

    def take(self) -> None:
        """One more was started."""
        self._balance -= 1.0
        self.spent += 1


class TokenBudget:
    """The same in tokens: what is spent twice on purpose stays a share of what all calls are expected to take.

    Args:
        share: of the tokens of all calls; 0: nothing may be spent, whatever the reserve.
        reserve: calls that may be repeated before anything is saved up.
    """

    __slots__ = ("_asked", "_reserve", "_share", "spent")

    def __init__(self, share: float, reserve: float) -> None:
        self._share, self._reserve = share, reserve if share > 0.0 else 0.0
        self._asked = 0.0
        self.spent = 0.0

    def deposit(self, tokens: float) -> None:
        """A call of this size arrived."""
        self._asked += tokens

    def affords(self, tokens: float) -> bool:
        """Whether a call of this size may be sent a second time."""
        return self.spent + tokens <= self._share * self._asked + self._reserve * tokens

    def take(self, tokens: float) -> None:
        """It was."""
        self.spent += tokens
