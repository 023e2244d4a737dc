"""Which named place of the workflow the executing code is in."""

from bisect import insort
from collections.abc import Callable

from agentsched.errors import ConfigError
from agentsched.workflow.frame import FrameChange, current_frame

__all__ = [
    "StepSource",
    "TaskSource",
    "checked_name",
    "current_step",
    "current_task",
    "name_step",
    "register_step_source",
]

StepSource = Callable[[], str | None]
"""Tells the step that a framework is executing in the current context, or None if it is executing none."""

TaskSource = Callable[[], tuple[str, ...] | None]
"""Tells the task that a framework is executing in the current context, behind those around it, for a framework in which
tasks never wait for one another once they run; None outside any."""

_sources: list[tuple[int, StepSource]] = []
_task_sources: list[tuple[int, TaskSource]] = []


def register_step_source(source: StepSource, tasks: TaskSource | None = None, *, rank: int = 0) -> Callable[[], None]:
    """Let a framework adapter tell the current step, and the task that executes it.

    Sources are asked at every model call, so they must be quick and must not raise.

    Args:
        source: tells the step.
        tasks: tells the task; None: the framework has none.
        rank: sources of a lower rank are asked first, those of one rank in the order of registration. A framework whose
            steps usually hold others' has a high one, so that theirs are named whoever came first.

    Returns:
        A function that takes the sources out again; calling it twice does no harm.
    """
    insort(_sources, (rank, source), key=_rank)
    if tasks is not None:
        insort(_task_sources, (rank, tasks), key=_rank)
    registered = True

    def undo() -> None:
        nonlocal registered
        if registered:  # the same source may be in a second time, for somebody else
            registered = False
            _sources.remove((rank, source))
            if tasks is not None:
                _task_sources.remove((rank, tasks))

    return undo


def _rank(ranked: tuple[int, object]) -> int:
    return ranked[0]


def current_task() -> tuple[str, ...] | None:
    """The task of a framework's that is executing, behind those around it, or None."""
    for _, source in _task_sources:
        found = source()
        if found is not None:
            return found
    return None


def current_step(run: object) -> str | None:
    """The step of the executing code within ``run``.

    What ``agentsched.step`` named in this run, else what a framework says, else what the starter of this thread was
    in; None if nobody knows.
    """
    frame = current_frame()
    if frame.step is not None and frame.run is run:
        return frame.step
    for _, source in _sources:
        step = source()
        if step:
            return step
    return frame.inherited_step


def name_step(name: str) -> FrameChange:
    """Enter the step ``name``: until the end of the ``with`` block, else for the rest of the current context.

    Raises:
        ConfigError: the name is empty or no text.
    """
    return FrameChange("step", checked_name(name))


def checked_name(name: str, field: str = "step") -> str:
    """A step's name, as it is; or what else ``field`` says.

    Raises:
        ConfigError: it is empty or no text.
    """
    if not isinstance(name, str) or not name.strip():
        raise ConfigError("not a name", field=field, given=name, allowed="a non-empty text")
    return name
