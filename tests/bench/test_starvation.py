"""Whether the process got the cores it asked for."""

import os
import sys
import threading

import pytest

from agentsched.bench.starvation import longest_wait_s, waits_for_cores_s


@pytest.mark.skipif(sys.platform != "linux", reason="the account is Linux's")
def test_every_thread_has_an_account_that_only_grows() -> None:
    before = waits_for_cores_s()
    assert str(threading.get_native_id()) in before
    after = waits_for_cores_s()
    assert all(after[task] >= waited for task, waited in before.items() if task in after)


@pytest.mark.skipif(sys.platform != "linux", reason="the account is Linux's")
def test_another_process_has_one_too() -> None:
    assert waits_for_cores_s(os.getpid()).keys() == waits_for_cores_s().keys()
    assert waits_for_cores_s(2**30) == {}


def test_the_longest_wait_is_one_thread_s_own() -> None:
    assert longest_wait_s({"1": 5.0, "2": 1.0}, {"1": 5.25, "2": 1.5, "3": 0.125}) == 0.5
    assert longest_wait_s({"1": 5.0}, {}) == 0.0
