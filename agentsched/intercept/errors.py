"""The shape an error takes on its way out: ours, and at the same time what the caller's library would have raised.

    caller              out of time (DeadlineExceeded, CallTimedOut)    no answer (every other CallFailed)
    openai SDK          + openai.APITimeoutError                        + openai.APIConnectionError
    LangChain over it   + openai.APIError                               + openai.APIError
    plain httpx(2)      + ReadTimeout                                   + ConnectError, once streaming ReadError

Where langchain-core is loaded and has ``ModelError``, the error is one too, with ``is_retryable`` False.
langchain-openai turns every SDK timeout and connection error into a retryable error of its own, but lets other SDK
errors pass.

It also waits for each chunk of an asynchronous stream with a timeout and takes every TimeoutError for its own: there,
an error that is out of time is `OutOfTime`, and the decorator makes of it what it is.

None carries a cause or a context, and none has the words in its text by which frameworks recognise an error that is
worth another try: both would make them call again after the time is over.
"""

import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from agentsched.errors import AgentschedError, CallTimedOut, DeadlineExceeded, StreamBroken
from agentsched.intercept.callers import Caller, caller_of
from agentsched.intercept.family import Family

if TYPE_CHECKING:
    import httpx2

__all__ = ["OutOfTime", "raise_clean", "shape"]

_RETRY_WORDS = re.compile(r"rate[\s_-]*limit\w*|throttl\w*|too many requests|quota\w*|\b429\b", re.IGNORECASE)

_shapes: dict[tuple[type, ...], type[AgentschedError]] = {}


class OutOfTime(AgentschedError):
    """A DeadlineExceeded or CallTimedOut where a TimeoutError would be misunderstood; ``plain`` is that error."""


def shape(
    error: AgentschedError, *, request: "httpx2.Request", family: Family, caller: Caller | None = None
) -> AgentschedError:
    """The same error as one that is also the caller's library's own.

    Args:
        error: any error of agentsched; its traceback is dropped.
        request: what the caller sent; the library's errors carry it.
        family: the HTTP library it was sent with.
        caller: who sent it; found out from the stack when not given.
    """
    known = caller or caller_of(request)
    plain: AgentschedError = vars(error).get("plain", error)
    own = type(plain)
    foreign = _foreign(own, known, family)
    if known.waits and issubclass(own, TimeoutError):
        own = OutOfTime
    kind = _shape_of(own, (foreign, *_model_error()))
    text = _RETRY_WORDS.sub("limit", str(plain))
    shaped = kind.__new__(kind)
    arguments: dict[str, Any] = {"request": request}
    if known.sdk is None:
        arguments["message"] = text
    elif foreign is known.sdk.APIError:
        arguments |= {"message": text, "body": None}
    foreign.__init__(shaped, **arguments)
    vars(shaped).update(vars(plain), message=text, plain=plain.with_traceback(None))
    shaped.args = (text,)
    return shaped


def raise_clean(error: BaseException) -> NoReturn:
    """Raise with neither cause nor context, also while the caller is handling another exception."""
    try:
        raise error
    finally:
        error.__cause__ = error.__context__ = None


def _foreign(own: type[AgentschedError], caller: Caller, family: Family) -> type[Exception]:
    late = issubclass(own, (DeadlineExceeded, CallTimedOut))
    found: type[Exception]
    if caller.sdk is None:
        found = family.read_timeout if late else family.read_error if own is StreamBroken else family.connect_error
    elif caller.langchain:
        found = caller.sdk.APIError
    else:
        found = caller.sdk.APITimeoutError if late else caller.sdk.APIConnectionError
    return found


def _model_error() -> tuple[type, ...]:
    module = sys.modules.get("langchain_core.exceptions")
    kind = getattr(module, "ModelError", None)
    return (kind,) if isinstance(kind, type) else ()


def _shape_of(own: type[AgentschedError], foreign: tuple[type, ...]) -> type[AgentschedError]:
    kind = _shapes.get((own, *foreign))
    if kind is None:
        kind = _shapes[own, *foreign] = _make(own, foreign)
    return kind


def _make(own: type[AgentschedError], foreign: tuple[type, ...]) -> type[AgentschedError]:
    def reduce(self: Any) -> str | tuple[Any, ...]:
        # The class is made at run time and the request is no matter for another process: pickled, it is plainly ours.
        return self.plain.__reduce__()  # type: ignore[no-any-return]

    names = {"__doc__": own.__doc__, "__module__": own.__module__, "__reduce__": reduce, "is_retryable": False}
    return type(own.__name__, (own, *foreign), names)
