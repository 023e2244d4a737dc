"""When to begin a step's writes, so that they are as close to the instant they are due as can be.

A step ends for all its streams at one instant, but their chunks are written one after the other: with 50 streams at
12 us a write the last is 0.6 ms behind the first, and when the steps of several endpoints coincide their writes queue
up. The conductor knows what every endpoint of the process will write next and how long that takes, and begins early by
half of it: what cannot be simultaneous is at least centred on the instant it stands for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from agentsched import clock

__all__ = ["Conductor", "Cue", "Player", "plan_starts"]

_MAX_EARLY_S = 1.5e-3
_WAKE_S = 150e-6  # what the system takes to wake a process whose timer is due


class Player(Protocol):
    """Something with steps to perform (an endpoint's driver)."""

    def play(self, due_s: float) -> None:
        """Perform the step that is due at this instant; announces the next one to the conductor."""


class Cue:
    """A player's next step.

    Attributes:
        due_s: when it is due.
        width_s: how long its writes take.
        start_s: when they are to begin (set by `plan_starts`).
    """

    __slots__ = ("due_s", "start_s", "width_s")

    def __init__(self, due_s: float, width_s: float) -> None:
        self.due_s = due_s
        self.width_s = width_s
        self.start_s = due_s


def plan_starts(cues: Iterable[Cue]) -> float | None:
    """Set each cue's start so that its writes are centred on its due instant; cues that would overlap count as one.

    Returns:
        The earliest start; None without cues.
    """
    in_order = sorted(cues, key=lambda cue: cue.due_s)
    group: list[Cue] = []
    for cue in in_order:
        if group and cue.due_s - group[-1].due_s > 0.5 * (cue.width_s + group[-1].width_s):
            _centre(group)
            group = []
        group.append(cue)
    _centre(group)
    return min((cue.start_s for cue in in_order), default=None)


def _centre(group: list[Cue]) -> None:
    total_s = sum(cue.width_s for cue in group)
    if total_s <= 0.0:
        return
    middle_s = sum(cue.width_s * cue.due_s for cue in group) / total_s
    for cue in group:
        cue.start_s = max(min(cue.due_s, middle_s - 0.5 * total_s), cue.due_s - _MAX_EARLY_S)


class Conductor:
    """Performs every player's next step in time, with one timer. Lives on one event loop."""

    def __init__(self) -> None:
        self._cues: dict[Player, Cue] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._playing = False

    def announce(self, player: Player, due_s: float | None, width_s: float) -> None:
        """Note a player's next step.

        Args:
            player: whose step.
            due_s: instant of the monotonic clock at which it is due; None for no step.
            width_s: seconds its writes will take.
        """
        if due_s is None:
            self._cues.pop(player, None)
        else:
            self._cues[player] = Cue(due_s, width_s)
        if not self._playing:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        start_s = plan_starts(self._cues.values())
        if start_s is not None:
            loop = asyncio.get_running_loop()
            # The loop's clock need not be ours (uvloop, tests): only the delay is taken from ours.
            self._timer = loop.call_at(loop.time() + start_s - _WAKE_S - clock.monotonic(), self._play)

    def _play(self) -> None:
        """Perform every step whose time has come, in the order in which they are due."""
        self._timer = None
        self._playing = True
        try:
            while True:
                now = clock.monotonic()
                ready = [(cue.due_s, player) for player, cue in self._cues.items() if cue.start_s <= now + _WAKE_S]
                if not ready:
                    break
                due_s, player = min(ready, key=lambda item: item[0])
                del self._cues[player]
                player.play(due_s)
                plan_starts(self._cues.values())
        finally:
            self._playing = False
        self._set_timer()
