"""Locks that children of a fork do not inherit."""

import os
import threading

from agentsched.forking import ProcessLock


def test_it_is_free_in_a_child_that_is_forked_while_it_is_held():
    lock = ProcessLock()
    with lock:
        child = os.fork()
        if child == 0:
            with lock:  # would wait for ever
                os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_it_is_made_of_what_locks_are_when_it_is_first_needed(monkeypatch):
    lock = ProcessLock()
    made = []

    class Lock:
        def acquire(self) -> None:
            made.append("acquired")

        def release(self) -> None:
            made.append("released")

    monkeypatch.setattr(threading, "Lock", Lock)
    with lock:
        assert made == ["acquired"]
    assert made == ["acquired", "released"]


def test_one_thread_at_a_time():
    lock, inside = ProcessLock(), []
    going = threading.Event()

    def work() -> None:
        going.set()
        with lock:
            inside.append("other")

    with lock:
        thread = threading.Thread(target=work)
        thread.start()
        going.wait(5)
        inside.append("first")
    thread.join(5)
    assert inside == ["first", "other"]
