"""A workflow on a pool that fails, and everything that can be seen of it from above and from below."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import agentsched as ags
from agentsched.workflow.scope import Run
from tests.integrations.errors.table import OURS, raised, tries
from tests.integrations.errors.upstream import MODEL, Case

ENDPOINTS = ("a", "b")
MOST_ATTEMPTS = 3
"""Upstream requests that one call may take (``retry.max_attempts`` of the pool)."""

STEP = "plan"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}

RETRY_WORDS = re.compile(r"rate.?limit|throttl|too many|quota|429", re.IGNORECASE)
"""By these, and others like them, frameworks recognise what they think is worth another try."""


@dataclass
class Scene:
    """One workflow whose model calls all fail in the same way.

    Attributes:
        case: what the pool's server does and sees.
        pool: the configuration file; None: no pool, calls pass through.
        deadline_s: the run's.
        sends: calls of a patched ``send`` for a model: what the SDK and the framework tried.
        run: the run, once it has begun.
        seen: the error as the agent's own code gets it from its framework.
        raised: the error as it leaves the decorated function.
        requests: upstream requests until then.
    """

    case: Case
    pool: Path | None
    deadline_s: float
    sends: int = 0
    run: Run | None = None
    seen: BaseException | None = None
    raised: BaseException | None = None
    requests: int = 0

    def play(self, ask: Callable[[], Any]) -> "Scene":
        """Run ``ask``, a function or coroutine function, inside a plain decorated function; it must fail."""

        @ags.workflow(slo=ags.SLO(deadline=self.deadline_s), name="flow", pool=self.pool)
        def flow() -> None:
            with self._watched():
                answer = ask()
                if asyncio.iscoroutine(answer):
                    asyncio.run(answer)

        try:
            flow()
        except Exception as error:  # noqa: BLE001  # which one it is, is what the tests ask
            self._ended(error)
        return self._checked()

    async def aplay(self, ask: Callable[[], Awaitable[Any]]) -> "Scene":
        """Run it inside a decorated coroutine function, which is cancelled at the deadline; it must fail."""

        @ags.workflow(slo=ags.SLO(deadline=self.deadline_s), name="flow", pool=self.pool)
        async def flow() -> None:
            with self._watched():
                await ask()

        try:
            await flow()
        except BaseException as error:  # noqa: BLE001  # which one it is, is what the tests ask
            self._ended(error)
        return self._checked()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        self.run = ags.current()
        ags.step(STEP)
        try:
            yield
        except BaseException as error:
            self.seen = error
            raise

    def _ended(self, error: BaseException) -> None:
        self.raised, self.requests = error, len(self.case.requests)

    def _checked(self) -> "Scene":
        assert self.raised is not None, "nothing was raised"
        assert self.run is not None
        return self

    # -- what the page says ------------------------------------------------------------------------------------------

    def check(self, row: str, column: str, *, framework: str) -> None:
        """The agent's code sees what the page says, after as many tries, and so does the caller of the workflow."""
        self.check_seen(row, column)
        self.check_tries(row, framework)
        if row == "deadline passed":
            self.check_late()
        else:
            assert self.raised is self.seen, "the decorator hands on what is not the deadline's"

    def check_seen(self, row: str, column: str) -> None:
        """The error, or what the framework names as its cause, is what the page says."""
        assert self.seen is not None
        assert raised(row, column) <= kinds(self.seen) | kinds(self.seen.__cause__), repr(self.seen)
        if row in OURS:
            assert not RETRY_WORDS.search(own_words(self.seen)), str(self.seen)

    def check_alone(self, row: str) -> None:
        """Nothing hangs on the error, where it is ours and the framework has not put another in its place."""
        if row in OURS:
            assert self.seen is not None
            assert (self.seen.__cause__, self.seen.__context__) == (None, None)
            assert getattr(self.seen, "is_retryable", None) is False

    def check_tries(self, row: str, framework: str) -> None:
        """Nobody above tried more often than the page says, and nobody asked upstream more often."""
        sends, requests = tries(row, framework)
        assert self.sends == sends
        assert self.requests <= requests if row == "deadline passed" else self.requests == requests

    def check_late(self) -> None:
        """What left the decorated function is the deadline error, and says where the time went."""
        error, run = self.raised, self.run
        assert type(error) is ags.DeadlineExceeded
        assert run is not None
        assert (error.__cause__, error.__context__) == (None, None)
        assert (error.run_id, error.workflow, error.step) == (run.run_id, "flow", STEP)
        assert (error.deadline_s, run.outcome) == (self.deadline_s, "deadline")
        assert error.elapsed_s is not None
        assert error.elapsed_s >= self.deadline_s - 0.01
        for part in (run.run_id, "'flow'", f"of {self.deadline_s:.2f} s", f"in step '{STEP}'"):
            assert part in str(error)
        assert not RETRY_WORDS.search(str(error))
        if self.requests:
            ((step, spent_s),) = error.spent_s
            assert step == STEP
            assert 0 < spent_s <= error.elapsed_s + 0.01
            assert f"longest: {STEP} {spent_s:.2f} s" in str(error)


def kinds(error: BaseException | None) -> set[str]:
    """The names of all its classes."""
    return {kind.__name__ for kind in type(error).__mro__}


def own_words(error: BaseException) -> str:
    """Its text without the traceback that AutoGen's teams put into it: line numbers may be anything."""
    return str(error).partition("\nTraceback:")[0]


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  # what other threads count gives no sign
            await asyncio.sleep(0.01)


def write_pool(path: Path, case: Case) -> Path:
    """A configuration of two endpoints that both fail."""
    endpoints = [{"name": name, "base_url": case.url(name), "model": MODEL, "api_key": "k"} for name in ENDPOINTS]
    path.write_text(yaml.safe_dump({"version": 1, "endpoints": endpoints, "retry": {"max_attempts": MOST_ATTEMPTS}}))
    return path
