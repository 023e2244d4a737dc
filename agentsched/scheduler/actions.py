"""What the scheduler wants done; live code and the simulator differ only in who does it."""

from agentsched.core.call import AttemptLimits, Failure, Way
from agentsched.core.records import Recordable
from agentsched.core.value import value

__all__ = [
    "Action",
    "Cancel",
    "Deliver",
    "Fail",
    "Record",
    "ReviewAt",
    "Start",
]


@value()
class Start:
    """Send the call to this endpoint.

    ``stream``: ask for a stream, also where the caller wants a whole answer, which is then put together from it.
    ``way``: how to go on with what there is of the answer, which the attempt ``after`` knows; None: it is begun.
    ``resumable``: keep track of what comes, as another attempt may have to go on with it.
    """

    call_id: str
    attempt_id: str
    endpoint: str
    limits: AttemptLimits
    stream: bool = False
    way: Way | None = None
    resumable: bool = False
    after: str | None = None


@value()
class Cancel:
    """Stop this attempt upstream; nothing more is expected of it."""

    call_id: str
    attempt_id: str
    reason: str


@value()
class ReviewAt:
    """Send `ReviewDue` for this call at this instant, instead of at the one asked for before."""

    call_id: str
    at: float


@value()
class Deliver:
    """This attempt's answer is the call's answer: hand it over, from its first byte.

    A second one, after an attempt that was handed over in part: what this one adds to that.
    """

    call_id: str
    attempt_id: str
    endpoint: str


@value()
class Fail:
    """The call has no answer.

    ``passthrough``: the attempt whose HTTP answer (a 4xx) is handed to the caller unchanged; None: raise an error.
    ``endpoint`` is that attempt's. ``saturated``: limits, not faults, are why. ``delivered``: part of an answer was
    already handed over. ``attempts`` tells people where it was tried. ``skipped``: the visit of an optional step that
    is left out; empty: none is.
    """

    call_id: str
    failure: Failure
    passthrough: str | None = None
    endpoint: str | None = None
    saturated: bool = False
    delivered: bool = False
    attempts: tuple[str, ...] = ()
    skipped: str = ""


@value()
class Record:
    """Something for the log and the learner."""

    record: Recordable


Action = Start | Cancel | ReviewAt | Deliver | Fail | Record
