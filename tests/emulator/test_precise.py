"""Timers on time, a quiet collector, and everything as it was afterwards."""

from __future__ import annotations

import asyncio
import gc
import os
import sys

import pytest

from agentsched.emulator.precise import precedence, quiet_garbage_collection, run_precisely


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the loop is an ordinary one")
def test_timers_are_not_rounded_to_milliseconds() -> None:
    async def least_lateness() -> float:
        loop = asyncio.get_running_loop()
        late = []
        for _ in range(25):
            due = loop.time() + 0.0021
            await asyncio.sleep(due - loop.time())
            late.append(loop.time() - due)
        return min(late)

    assert run_precisely(least_lateness()) < 0.0005


def test_the_collector_is_as_before_afterwards() -> None:
    before = gc.get_threshold()
    with quiet_garbage_collection():
        assert gc.get_threshold() != before
        assert gc.isenabled()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is asked for")
def test_precedence_is_given_back() -> None:
    before = os.sched_getscheduler(0)
    with precedence() as granted:
        assert (os.sched_getscheduler(0) == os.SCHED_RR) == granted
    assert os.sched_getscheduler(0) == before
