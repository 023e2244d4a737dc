"""What can go wrong with an endpoint, scaled to the deadline it is tried against, and the endpoints it is tried on.

Every case is tried on a *lane*: two endpoints of one emulated pool, ``first`` (the faster one, which therefore is asked
first) and ``second`` (healthy). A lane serves one cell at a time, so that the requests it received are that cell's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from agentsched.core.endpoint import Endpoint, Pool
from agentsched.emulator.answers import compose
from agentsched.emulator.calls import read_chat
from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig, Lengths
from agentsched.emulator.faults import Fault
from agentsched.emulator.process import PoolProcess
from agentsched.engine.profile import HardwareProfile

__all__ = ["ENDLESS", "FAULTS", "FaultCase", "Lane", "Question", "lane_pool", "lanes_config", "lanes_of", "question"]

MODEL = "bench-model"
_KEY = "bench"
_NOWHERE = "http://no-such-host.invalid/v1"
"""The top-level domain is reserved for names that never exist (RFC 2606)."""

_ANSWER_TOKENS = 24
_PROMPT_WORDS = 400
_LATE = 3.0
"""The slow endpoint's answer would take this many deadlines."""

_FIRST = HardwareProfile("first", 0.003, 0.0001, 0.0, 20_000.0, max_slots=64, kv_tokens=1_000_000)
_SECOND = HardwareProfile("second", 0.006, 0.0002, 0.0, 10_000.0, max_slots=64, kv_tokens=1_000_000)
_USUAL_S = 0.1
"""About what an answer of ``first`` takes when nothing is wrong, seconds."""


@dataclass(frozen=True, slots=True)
class FaultCase:
    """One thing that can go wrong.

    Attributes:
        name: for tables.
        fault: the emulator's fault for a deadline in seconds; None: the host's name does not exist.
    """

    name: str
    fault: Callable[[float], Fault] | None


def _always(name: str, fault: Fault) -> FaultCase:
    return FaultCase(name, lambda deadline_s: fault)


_CASES = (
    _always("silent", Fault(kind="silent")),
    _always("connect refused", Fault(kind="refuse")),
    _always("stalled body", Fault(kind="stall")),
    _always("stalled after 5 chunks", Fault(kind="stall", after=5)),
    FaultCase("dripping body", lambda deadline_s: Fault(kind="drip", interval_s=deadline_s / 10)),
    FaultCase("dripping SSE comments", lambda deadline_s: Fault(kind="drip_comments", interval_s=deadline_s / 10)),
    _always("cut after 0 chunks", Fault(kind="cut")),
    _always("cut after 5 chunks", Fault(kind="cut", after=5)),
    _always("early end after 0 chunks", Fault(kind="cut", clean=True)),
    _always("early end after 5 chunks", Fault(kind="cut", clean=True, after=5)),
    _always("malformed SSE", Fault(kind="malformed_sse")),
    _always("truncated JSON", Fault(kind="truncated_json")),
    _always("429", Fault(kind="rate_limit")),
    _always("429, Retry-After 30", Fault(kind="rate_limit", retry_after_s=30.0)),
    _always("500", Fault(kind="server_error")),
    _always("503", Fault(kind="unavailable")),
    _always("in-band error", Fault(kind="error_in_stream")),
    FaultCase("slow but alive", lambda deadline_s: Fault(kind="slow", factor=_LATE * deadline_s / _USUAL_S)),
    FaultCase("unknown host", None),
)
FAULTS = {case.name: case for case in _CASES}
"""By name, in the order of the tables."""

ENDLESS = ("dripping body", "dripping SSE comments", "429, Retry-After 30")
"""Cases that keep a client which obeys or believes the server for longer than anybody waits."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Two endpoints, by name and base URL."""

    first: str
    second: str
    first_url: str
    second_url: str

    def url(self, case: FaultCase) -> str:
        """Where the first endpoint of this case is."""
        return _NOWHERE if case.fault is None else self.first_url


def lanes_config(count: int) -> EmulatorConfig:
    """The emulated endpoints of so many lanes."""
    pairs = ((f"first-{index}", _FIRST, f"second-{index}", _SECOND) for index in range(count))
    return EmulatorConfig.of(
        [
            EmulatedEndpoint(name=name, profile=profile, model=MODEL)
            for first, fast, second, slower in pairs
            for name, profile in ((first, fast), (second, slower))
        ]
    )


def lanes_of(process: PoolProcess) -> list[Lane]:
    """The lanes of a pool that was started with `lanes_config`."""
    count = len(process.urls) // 2
    names = ((f"first-{index}", f"second-{index}") for index in range(count))
    return [Lane(first, second, process.url(first), process.url(second)) for first, second in names]


def lane_pool(lane: Lane, case: FaultCase, *, with_second: bool) -> Pool:
    """The lane as a fresh pool of ours."""
    endpoints = [Endpoint("first", lane.url(case), MODEL, api_key=_KEY, profile=_FIRST.prior())]
    if with_second:
        endpoints.append(Endpoint("second", lane.second_url, MODEL, api_key=_KEY, profile=_SECOND.prior()))
    return Pool(endpoints)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the one right answer: an emulated model's words depend on its name and the prompt alone."""

    messages: tuple[dict[str, str], ...]
    answer: str


@cache
def question(number: int) -> Question:
    """The question of one cell; no two are alike, so that no prefix cache helps."""
    text = f"[[out={_ANSWER_TOKENS}]] Case {number}. " + "Which orders are late? " * (_PROMPT_WORDS // 4)
    messages = ({"role": "user", "content": text},)
    call = read_chat({"model": MODEL, "messages": list(messages)}, {}, kind="vllm")
    return Question(messages, compose(call, Lengths(), room_tokens=_ANSWER_TOKENS).text)
