"""A run of steps with one batch, as an instance has planned it."""

from __future__ import annotations

from agentsched.engine.request import Span
from agentsched.engine.sequences import Sequence

__all__ = ["Block"]


class Block:
    """A planned run of steps with one batch, and how far it is.

    Attributes:
        end_s: when the last of the steps ends.
        step_end_s: when the step in progress does.
    """

    __slots__ = ("done", "end_s", "parts", "span", "step_end_s", "steps")

    def __init__(self, span: Span, steps: int, parts: list[tuple[Sequence, int]]) -> None:
        self.span = span
        self.steps = steps
        self.parts = parts
        self.done = 0
        self.step_end_s = span.end_of(1)
        self.end_s = self.step_end_s if steps == 1 else span.end_of(steps)

    def ended_by(self, now: float) -> int:
        """Return how many further steps have ended at ``now``."""
        return (self.steps if now >= self.end_s else self.span.steps_by(now, self.steps)) - self.done

    def end(self, steps: int) -> None:
        """So many further steps have ended."""
        self.done += steps
        if self.done < self.steps:
            self.step_end_s = self.span.end_of(self.done + 1)

    def cut(self, steps: int) -> None:
        """It is over after so many steps."""
        self.steps = steps
        self.end_s = self.span.end_of(steps)
