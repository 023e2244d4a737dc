"""Every socket of agentsched: what a plug-in implements, and what it may assume."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall, Observation
from agentsched.core.decision import Choice, Decision, Situation
from agentsched.core.forecast import QuantileForecast
from agentsched.core.quality import QualityForecast
from agentsched.core.remainder import RemainderForecast, RunHistory
from agentsched.core.shared import Posting

Array = NDArray[np.float64]

__all__ = [
    "LeavingPredictor",
    "LengthPredictor",
    "Policy",
    "QualityPredictor",
    "RemainderPredictor",
    "RememberingPolicy",
    "Sink",
    "StateStore",
]


class Policy(Protocol):
    """Places one call. Pure: no clock, no I/O, no state that `choose` changes.

    ``choose`` gets at least one candidate and answers with one of them, also when none is ready (``ready_in_s`` > 0:
    the call then waits for it and is placed anew when anything changes). Never with one whose ``ready_in_s`` is inf
    while another's is finite.

    A policy that relies on forecasts may have an attribute ``fallback``, another policy or None: that one places calls
    while the forecasts do not hold, and the log is told.

    One whose choices do not depend on how fast endpoints are believed to be, nor on forecasts made of that, may have an
    attribute ``reads_speeds``, False: the simulator then tells of tokens only as often as somebody looks at them.
    """

    name: str

    def choose(self, situation: Situation) -> Choice:
        """Say where the call goes."""


@runtime_checkable
class RememberingPolicy(Policy, Protocol):
    """A policy that learns from what happened. `choose` still changes nothing.

    It belongs to one scheduler, which shows it what it also logs, in that order: a fresh one that is shown the same
    records is in the same state, so that a recording replays exactly. Chance is drawn from the call's id.
    """

    def remember(self, record: Decision | Observation) -> None:
        """An attempt has begun, or has ended in any way. Returns at once and raises nothing."""


class LengthPredictor(Protocol):
    """Forecasts output lengths, in tokens. Predicting changes nothing; learning happens elsewhere and arrives whole."""

    def predict(self, call: ModelCall, history: RunHistory) -> QuantileForecast:
        """The forecast for this call, the last one in its run's ``history``, not yet capped by ``max_tokens``."""


class RemainderPredictor(Protocol):
    """Forecasts what follows a call in its run. Predicting changes nothing, the history least of all."""

    def predict(self, call: ModelCall, history: RunHistory) -> RemainderForecast | None:
        """The forecast for this call, the last one in its run's ``history``; None: nothing is known."""


@runtime_checkable
class LeavingPredictor(Protocol):
    """A `RemainderPredictor` that also knows how runs go on without an optional step; without it none is left out."""

    def after_leaving(self, call: ModelCall, history: RunHistory, step: str) -> RemainderForecast | None:
        """What follows if this optional step is left out, of which the call is the first; None: nothing is known."""


class QualityPredictor(Protocol):
    """Forecasts how good answers will be. Predicting changes nothing."""

    def predict(self, call: ModelCall, endpoints: Sequence[str], declared: Array) -> QualityForecast | None:
        """The quality at each endpoint, from the ``declared`` ones, shape (n,); None: nothing more is known."""


class Sink(Protocol):
    """Takes records: decisions, observations, call and run ends. ``emit`` neither blocks nor raises."""

    def emit(self, record: object) -> None:
        """Take one record."""


class StateStore(Protocol):
    """Carries what the clients of a pool tell each other: of each client the newest posting, for a limited time.

    It is called from one thread at a time, which is nobody's event loop; a method may block for some seconds, never for
    ever. After a `StateUnavailable` the next call starts anew: a store that was away and is back needs no other help.
    """

    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        """Keep ``own`` for ``ttl_s`` seconds, in place of the client's last one, and answer those of all others.

        Only postings that are not yet expired, by the clock of the store, are answered, each with its age.

        Raises:
            StateUnavailable: the store cannot be reached or read.
        """

    def withdraw(self, client: str) -> None:
        """Drop what this client posted, so that others need not wait until it expires.

        Raises:
            StateUnavailable: as `exchange`.
        """

    def close(self) -> None:
        """Let go of files and connections; idempotent, raises nothing. A later call opens them again."""
