"""Fixtures for the workflow scope and the public functions: a clock that stands still, and a runtime that only listens.

A room with fixtures of the same names overrides these.
"""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType

import pytest
from hypothesis import settings

from agentsched.core.records import Recordable
from agentsched.workflow import carry, scope
from agentsched.workflow.frame import OUTSIDE, current_frame
from agentsched.workflow.scope import Run, current_run, deadline_error, effective_deadline

os.environ["AGENTSCHED_PROFILES"] = "off"  # what one test taught must not reach another, or the user's cache

# The openai SDK 2 leaves its classes half made until their first answer, and pydantic may break one that two threads
# finish at once, with and without agentsched: tests have them whole.
os.environ["DEFER_PYDANTIC_BUILD"] = "false"

# A busy machine is no failure, and the fast suite is the same one every time; the fuzz session looks further.
settings.register_profile("fast", deadline=None, derandomize=True)
settings.load_profile("fast")


class VirtualClock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Listener:
    """A `RunKeeper` that writes down what it is told."""

    name: str = "default"
    started: list[Run] = field(default_factory=list)
    ended: list[tuple[Run, str]] = field(default_factory=list)
    records: list[Recordable] = field(default_factory=list)

    def start_run(self, run: Run) -> None:
        assert run not in self.started
        self.started.append(run)

    def end_run(self, run: Run, outcome: str) -> None:
        assert run in self.started
        assert run.finished
        self.ended.append((run, outcome))

    def emit(self, record: Recordable) -> None:
        self.records.append(record)

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """(workflow, outcome) of each run that has ended, in that order."""
        return [(run.workflow, outcome) for run, outcome in self.ended]


@dataclass
class Surroundings:
    """What `agentsched.api` loads at the first run, replaced: the runtimes per pool, and the switch of intercept."""

    runtimes: dict[object, Listener | None] = field(default_factory=lambda: {None: Listener()})
    switched: list[str] = field(default_factory=list)

    @property
    def listener(self) -> Listener:
        """The default runtime."""
        runtime = self.runtimes[None]
        assert runtime is not None
        return runtime

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """(workflow, outcome) of each run that the default runtime saw end, in that order."""
        return self.listener.outcomes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    """The clock of runs, standing still."""
    virtual = VirtualClock()
    monkeypatch.setattr(scope, "default_clock", virtual)
    return virtual


@pytest.fixture
def model_call() -> Callable[..., str]:
    """What interception does for a call that takes no time: it fails if the call's time is spent."""

    def call(step: str | None = None) -> str:
        run = current_run()
        assert run is not None
        run.next_call_index()
        now = run.clock()
        at = effective_deadline(run, step or run.step, now)
        if at is not None and now >= at:
            raise deadline_error(run, now)
        return "answer"

    return call


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    """Runs without a scheduler and without interception; afterwards nothing of a run may be left in this context."""
    made = Surroundings()
    runtime, intercept = ModuleType("agentsched.runtime"), ModuleType("agentsched.intercept")
    runtime.runtime_for = made.runtimes.__getitem__  # type: ignore[attr-defined]
    runtime.configure = lambda source: made.runtimes.setdefault(source, Listener(str(source)))  # type: ignore[attr-defined]
    intercept.instrument = lambda: made.switched.append("on")  # type: ignore[attr-defined]
    intercept.uninstrument = lambda: made.switched.append("off")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "agentsched.runtime", runtime)
    monkeypatch.setitem(sys.modules, "agentsched.intercept", intercept)
    yield made
    carry.uninstall()
    assert current_frame() == OUTSIDE
