"""The shape an error takes on its way out: ours, and at the same time what the caller's library would have raised.

    caller                     out of time (DeadlineExceeded, CallTimedOut)   no answer (every other CallFailed)
    openai SDK                 + openai.APITimeoutError                       + openai.APIConnectionError
    a framework over the SDK   + openai.APIError                              + openai.APIError
    langroid                   + openai.OpenAIError, no TimeoutError          + openai.OpenAIError
    plain httpx(2)             + ReadTimeout                                  + ConnectError, once streaming ReadError

The scheduler has tried what could be tried, so nobody above shall try again. Seen with langchain-openai 1.7, LangGraph
1.2, CrewAI 1.15, llama-index 0.14, litellm 1.106 and langroid 0.69:

- langchain-openai turns the SDK's timeout and connection errors into retryable errors of its own, CrewAI into a
  ConnectionError that it repeats, llama-index repeats them; each lets other errors of the SDK pass.
- LangChain's retry middleware asks langchain-core's ``ModelError.is_retryable``: where that class is loaded, the error
  is one, and it is False.
- litellm 1.106 makes an error of its own by the status, 500 where there is none, and its router repeats that after a
  sleep that knows no deadline.
- langroid repeats five times, after sleeps of up to 10 s, whatever is an ``APIError`` or a TimeoutError.
- LangGraph's default retry policy repeats neither an OSError (a TimeoutError is one) nor a RuntimeError; CrewAI repeats
  everything but a TimeoutError. An error without an answer, no TimeoutError by nature, is what its caller lets pass.
- langchain-openai waits for each chunk of an asynchronous stream with a timeout and takes every TimeoutError for its
  own: there, an error that is out of time is `OutOfTime`, and the decorator makes of it what it is.

None carries a cause or a context, and none has the words in its text by which frameworks recognise an error that is
worth another try: both would make them call again after the time is over.
"""

import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from agentsched.errors import AgentschedError, CallTimedOut, DeadlineExceeded, StreamBroken, hidden, without_429
from agentsched.intercept.callers import Caller, caller_of
from agentsched.intercept.family import Family

if TYPE_CHECKING:
    import httpx2

__all__ = ["OutOfTime", "raise_clean", "shape"]

_RETRY_WORDS = re.compile(
    r"rate[\s_-]*limit\w*|throttl\w*|too many requests|resource exhausted|quota\w*|(?<![\d.])429(?!\.?\d)",
    re.IGNORECASE,
)

_REFUSED = 499
"""A status that nobody repeats: no 408, 409, 429 or 5xx. nginx logs it of a request whose client did not wait."""

_shapes: dict[tuple[type, ...], type[AgentschedError]] = {}


class OutOfTime(AgentschedError):
    """A DeadlineExceeded or CallTimedOut where a TimeoutError would be misunderstood; ``plain`` is that error."""

    __cause__ = hidden("__cause__")
    __context__ = hidden("__context__")


def shape(
    error: AgentschedError, *, request: "httpx2.Request", family: Family, caller: Caller | None = None
) -> AgentschedError:
    """The same error as one that is also the caller's library's own; ``plain`` is the one that was given.

    Args:
        error: any error of agentsched; its traceback is dropped.
        request: what the caller sent; the library's errors carry it.
        family: the HTTP library it was sent with.
        caller: who sent it; found out from the stack when not given.
    """
    known = caller or caller_of(request)
    plain: AgentschedError = vars(error).get("plain", error)
    foreign = _foreign(type(plain), known, family)
    kind = _shape_of(type(plain), foreign, known)
    text = without_429(_RETRY_WORDS.sub("limit", str(plain)))
    shaped = kind.__new__(kind)
    arguments: dict[str, Any] = {"request": request}
    if known.sdk is None:
        arguments["message"] = text
    elif foreign is known.sdk.APIError:
        arguments |= {"message": text, "body": None}
    elif known.framework == "langroid":
        arguments = {}
    foreign.__init__(shaped, **arguments)
    vars(shaped).update(vars(plain), message=text, plain=plain.with_traceback(None))
    shaped.args = (text,)
    if known.framework == "litellm":
        vars(shaped)["status_code"] = _REFUSED
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
    elif caller.framework == "langroid":
        found = getattr(caller.sdk, "OpenAIError", caller.sdk.APIError)
    elif caller.framework is not None:
        found = caller.sdk.APIError
    else:
        found = caller.sdk.APITimeoutError if late else caller.sdk.APIConnectionError
    return found


def _shape_of(own: type[AgentschedError], foreign: type[Exception], caller: Caller) -> type[AgentschedError]:
    if caller.waits and issubclass(own, TimeoutError):
        own = OutOfTime
    bases = (own, foreign, *_unrepeated(own, caller))
    kind = _shapes.get(bases)
    if kind is None:
        kind = _shapes[bases] = _make(own, bases)
    return kind


def _unrepeated(own: type[AgentschedError], caller: Caller) -> list[type]:
    """What else the error must be for the frameworks at hand to let it pass."""
    found: list[type] = []
    model_error = getattr(sys.modules.get("langchain_core.exceptions"), "ModelError", None)
    if isinstance(model_error, type):
        found.append(model_error)
    if not issubclass(own, TimeoutError):
        if caller.framework == "crewai":
            found.append(TimeoutError)
        elif "langgraph" in sys.modules:
            found.append(RuntimeError)
    return found


def _make(own: type[AgentschedError], bases: tuple[type, ...]) -> type[AgentschedError]:
    def reduce(self: Any) -> str | tuple[Any, ...]:
        # The class is made at run time and the request is no matter for another process: pickled, it is plainly ours.
        return self.plain.__reduce__()  # type: ignore[no-any-return]

    names = {"__doc__": own.__doc__, "__module__": own.__module__, "__reduce__": reduce, "is_retryable": False}
    return type(own.__name__, bases, names)
