"""Which named place of the workflow the executing code is in."""

from collections.abc import Callable

from agentsched.errors import ConfigError
from agentsched.workflow.frame import FrameChange, current_frame

__all__ = ["StepSource", "current_step", "name_step", "register_step_source"]

StepSource = Callable[[], str | None]
"""Tells the step that a framework is executing in the current context, or None if it is executing none."""

_sources: list[StepSource] = []


def register_step_source(source: StepSource) -> Callable[[], None]:
    """Let a framework adapter tell the current step.

    Sources are asked in the order of registration at every model call, so they must be quick and must not raise.

    Returns:
        A function that takes the source out again; calling it twice does no harm.
    """
    _sources.append(source)
    registered = True

    def undo() -> None:
        nonlocal registered
        if registered:  # the same source may be in a second time, for somebody else
            registered = False
            _sources.remove(source)

    return undo


def current_step(run: object) -> str | None:
    """The step of the executing code within ``run``.

    What ``agentsched.step`` named in this run, else what a framework says, else what the starter of this thread was
    in; None if nobody knows.
    """
    frame = current_frame()
    if frame.step is not None and frame.run is run:
        return frame.step
    for source in _sources:
        step = source()
        if step:
            return step
    return frame.inherited_step


def name_step(name: str) -> FrameChange:
    """Enter the step ``name``: until the end of the ``with`` block, else for the rest of the current context.

    Raises:
        ConfigError: the name is empty or no text.
    """
    if not isinstance(name, str) or not name.strip():
        raise ConfigError("not a name", field="step", given=name, allowed="a non-empty text")
    return FrameChange("step", name)
