"""Every socket of agentsched: what a plug-in implements, and what it may assume."""

from typing import Protocol

from agentsched.core.call import ModelCall
from agentsched.core.decision import Choice, Situation
from agentsched.core.forecast import QuantileForecast
from agentsched.core.remainder import RemainderForecast, RunHistory

__all__ = ["LengthPredictor", "Policy", "RemainderPredictor", "Sink"]


class Policy(Protocol):
    """Places one call. Pure: no clock, no I/O, no state that `choose` changes.

    ``choose`` gets at least one candidate and answers with one of them, also when none is ready (``ready_in_s`` > 0:
    the call then waits for it and is placed anew when anything changes). Never with one whose ``ready_in_s`` is inf
    while another's is finite.
    """

    name: str

    def choose(self, situation: Situation) -> Choice:
        """Say where the call goes."""


class LengthPredictor(Protocol):
    """Forecasts output lengths, in tokens. Predicting changes nothing; learning happens elsewhere and arrives whole."""

    def predict(self, call: ModelCall) -> QuantileForecast:
        """The forecast for this call, not yet capped by ``max_tokens``."""


class RemainderPredictor(Protocol):
    """Forecasts what follows a call in its run. Predicting changes nothing, the history least of all."""

    def predict(self, call: ModelCall, history: RunHistory) -> RemainderForecast | None:
        """The forecast for this call, the last one in its run's ``history``; None: nothing is known."""


class Sink(Protocol):
    """Takes records: decisions, observations, call and run ends. ``emit`` neither blocks nor raises."""

    def emit(self, record: object) -> None:
        """Take one record."""
