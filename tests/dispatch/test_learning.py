import threading

import pytest

from agentsched.core.call import ModelCall
from agentsched.core.records import CallEnded
from agentsched.dispatch import learning
from agentsched.dispatch.learning import BackgroundLearner


def answered(k: int, tokens: int) -> CallEnded:
    call = ModelCall(f"c{k}", f"r{k}", "w", "s", 0, "m")
    return CallEnded(call, float(k), k + 0.5, "ok", "e", 1, 0, 0.0, 0.1, 10, tokens, None, 0.0)


def test_lessons_become_knowledge_and_a_change_is_told():
    known, told = [], []
    learner = BackgroundLearner(lambda lengths, *others: known.append(lengths), told.append, told.append)
    try:
        for k in range(120):
            learner.take(answered(k, 100 + k % 7))
        learner.flush()
        assert known[-1].groups["w", "s", "m"].quantile(0.5) < 115
        assert told == []
        for k in range(120, 160):
            learner.take(answered(k, 1000))
        learner.flush()
        assert [drift.group for drift in told] == [("w", "s", "m")]
    finally:
        learner.close()


def test_a_change_is_learned_anew_in_a_thread_of_its_own():
    """The rarer step's lengths change with the other's, though it is never called often enough to be noticed."""
    known, told = [], []
    learner = BackgroundLearner(lambda lengths, *others: known.append(lengths), lambda drift: None, told.append)

    def calls(begin, count, factor):
        for k in range(begin, begin + count):
            rare = k % 8 == 0
            call = ModelCall(f"c{k}", f"r{k}", "w", "rare" if rare else "often", 0, "m")
            tokens = int((60 if rare else 800) * factor * (1.0 + 0.01 * (k % 7)))
            learner.take(CallEnded(call, 1e-3 * k, 1e-3 * k, "ok", "e", 1, 0, 0.0, 0.1, 10, tokens, None, 0.0))
        learner.flush()

    try:
        calls(0, 400, 1.0)
        calls(400, 90, 0.25)
        aside = learner._aside
        assert aside is not None
        assert aside.name == "agentsched-relearn"
        aside.join(10.0)
        learner.flush()
        assert [result.outcome for result in told] == ["taken"]
        assert known[-1].groups["w", "rare", "m"].quantile(0.5) == pytest.approx(15, rel=0.1)
    finally:
        learner.close()
    assert learner._aside is None


def test_a_lesson_that_comes_while_it_is_being_closed_waits_for_those_before_it(monkeypatch):
    """Two threads of one learner at a time would learn into the same books, and take each other's end for their own."""
    monkeypatch.setattr(learning, "_FLUSH_S", 0.6)
    handing_out, go_on, handed_out = threading.Event(), threading.Event(), []

    def learned(*known) -> None:
        handed_out.append(known)
        handing_out.set()
        assert go_on.wait(10.0)

    learner = BackgroundLearner(learned, lambda drift: None, lambda result: None)
    learner.take(answered(0, 100))
    assert handing_out.wait(10.0)
    former = learner._thread
    learner.close()
    learner.take(answered(1, 200))
    learner.flush()
    assert len(handed_out) == 1
    go_on.set()
    former.join(10.0)
    assert not former.is_alive()
    monkeypatch.setattr(learning, "_FLUSH_S", 10.0)
    learner.flush()
    assert len(handed_out) == 2
    learner.close()


def test_closing_ends_what_is_learned_anew():
    told = []
    learner = BackgroundLearner(lambda *known: None, lambda drift: None, told.append)
    for k in range(400):
        learner.take(answered(k, 100))
    for k in range(400, 480):
        learner.take(answered(k, 1000))
    learner.flush()
    aside = learner._aside
    learner.close()
    assert not aside.is_alive()
