"""Virtual time: a heap of what is to happen, and the instant it has come to."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from agentsched.errors import InvariantViolated

__all__ = ["Timeline"]

_Entry = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class Timeline:
    """Does things in the order of their instants; of equal ones, in the order in which they were asked for.

    Background things (an instance that will fail one day) happen as long as others do, but do not keep time going.
    """

    __slots__ = ("_background", "_count", "_heap", "happened", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.happened = 0
        self._heap: list[_Entry] = []
        self._background: list[_Entry] = []
        self._count = 0

    def at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        """Call ``action(*arguments)`` at this instant.

        Raises:
            InvariantViolated: it is past.
        """
        if when < self.now:
            raise InvariantViolated(f"{action} was to happen at {when}, it is {self.now} already")
        self._count += 1
        heappush(self._heap, (when, self._count, action, arguments))

    def in_background(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        """The same, if time gets as far."""
        self._count += 1
        heappush(self._background, (when, self._count, action, arguments))

    def run(self) -> None:
        """Let time pass until nothing but background is left."""
        heap, background, pop = self._heap, self._background, heappop
        while heap:
            when, _, action, arguments = pop(background if background and background[0] < heap[0] else heap)
            self.now = when
            self.happened += 1
            action(*arguments)
