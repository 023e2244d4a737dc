import os
import threading

from agentsched.clock import monotonic
from agentsched.intercept.watchdog import set_alarm
from agentsched.workflow.scope import current_run
from tests.intercept.fakes import inside

SOON_S = 0.03


def test_rings_in_the_order_of_time():
    rung, done = [], threading.Event()
    now = monotonic()
    set_alarm(now + 2 * SOON_S, lambda: (rung.append("late"), done.set()))
    set_alarm(now + SOON_S, lambda: rung.append("early"))
    set_alarm(now - 1, lambda: rung.append("at once"))
    assert done.wait(2)
    assert rung == ["at once", "early", "late"]
    assert monotonic() >= now + 2 * SOON_S


def test_a_cancelled_alarm_does_not_ring():
    rung, done = [], threading.Event()
    set_alarm(monotonic() + SOON_S, lambda: rung.append(1)).cancel()
    set_alarm(monotonic() + 2 * SOON_S, done.set)
    assert done.wait(2)
    assert rung == []


def test_cancelling_waits_for_what_is_running():
    started, going_on, ended = threading.Event(), threading.Event(), []

    def act():
        started.set()
        going_on.wait(2)
        ended.append(True)

    alarm = set_alarm(monotonic(), act)
    assert started.wait(2)
    threading.Timer(SOON_S, going_on.set).start()
    alarm.cancel()
    assert ended == [True]


def test_its_thread_belongs_to_no_run(new_run, monkeypatch):
    from agentsched.intercept import watchdog

    monkeypatch.setattr(watchdog, "_watchdog", watchdog._Watchdog())
    seen, done = [], threading.Event()
    with inside(new_run()):
        set_alarm(monotonic(), lambda: (seen.append(current_run()), done.set()))
    assert done.wait(2)
    assert seen == [None]


def test_works_in_a_forked_child():
    set_alarm(monotonic() + 60, lambda: None).cancel()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        done = threading.Event()
        set_alarm(monotonic(), done.set)
        os.write(writer, b"1" if done.wait(2) else b"0")
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"1"
    os.close(reader)
    os.waitpid(child, 0)
