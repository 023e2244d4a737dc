from agentsched.core.call import ModelCall
from agentsched.core.records import CallEnded
from agentsched.dispatch.learning import BackgroundLearner


def answered(k: int, tokens: int) -> CallEnded:
    call = ModelCall(f"c{k}", f"r{k}", "w", "s", 0, "m")
    return CallEnded(call, float(k), k + 0.5, "ok", "e", 1, 0, 0.0, 0.1, 10, tokens, None, 0.0)


def test_lessons_become_knowledge_and_a_change_is_told():
    known, told = [], []
    learner = BackgroundLearner(lambda lengths, *others: known.append(lengths), told.append)
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
