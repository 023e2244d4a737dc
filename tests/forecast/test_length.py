import subprocess
import sys

import numpy as np
import pytest

from agentsched.core.call import ModelCall, Observation
from agentsched.core.forecast import QuantileForecast
from agentsched.core.remainder import RunHistory
from agentsched.forecast.length import PRIOR_OUTPUT_TOKENS, EmpiricalLengths, length_keys
from agentsched.forecast.length_learner import LengthLearner

NEW = RunHistory()


def call(workflow: str = "w", step: str = "s", model: str = "m", hinted: int | None = None) -> ModelCall:
    return ModelCall("c", "r", workflow, step, 0, model, hinted_output_tokens=hinted)


def seen(tokens: int, workflow: str = "w", step: str = "s", model: str = "m", status: str = "ok") -> Observation:
    return Observation("c.1", "c", "r", workflow, step, "e", model, 0.0, 0.1, 1.0, 10, tokens, None, None, status)


def learned(*observations: Observation) -> EmpiricalLengths:
    learner = LengthLearner()
    for observation in observations:
        learner.learn(observation)
    made = learner.snapshot()
    assert made is not None
    return made


# -- predicting ------------------------------------------------------------------------------------------------------


def test_nothing_known_is_the_prior():
    assert EmpiricalLengths().predict(call(), NEW) is PRIOR_OUTPUT_TOKENS
    assert PRIOR_OUTPUT_TOKENS.quantile(0.5) == pytest.approx(150, rel=0.02)


def test_the_narrowest_known_group_answers():
    groups = {key: QuantileForecast.constant(float(k)) for k, key in enumerate(length_keys("w", "s", "m"))}
    for k, key in reversed(list(enumerate(length_keys("w", "s", "m")))):
        assert EmpiricalLengths(groups).predict(call(), NEW).mean == k
        del groups[key]
    assert EmpiricalLengths(groups).predict(call(), NEW) is PRIOR_OUTPUT_TOKENS


def test_a_hint_is_believed():
    made = EmpiricalLengths({("", "", ""): QuantileForecast.constant(9.0)}).predict(call(hinted=300), NEW)
    assert made.quantile(0.5) == pytest.approx(300, rel=0.01)
    assert made.quantile(0.95) < 700
    assert EmpiricalLengths().predict(call(hinted=0), NEW).quantile(0.5) == pytest.approx(1.0, rel=0.01)


def test_groups_with_unknown_parts_are_there_once():
    assert length_keys("w", "", "m") == (("", "", ""), ("", "", "m"), ("w", "", ""), ("w", "", "m"))
    assert length_keys("", "", "") == (("", "", ""),)
    assert len(length_keys("w", "s", "m")) == 5


# -- learning --------------------------------------------------------------------------------------------------------


def test_few_answers_are_shrunk_toward_the_wider_group_and_many_are_not():
    tails = [learned(*[seen(20)] * count).predict(call(), NEW).quantile(0.95) for count in (1, 2, 5, 50)]
    assert tails == sorted(tails, reverse=True)
    assert tails[0] > 300
    assert tails[-1] == pytest.approx(20, rel=0.02)


def test_shrinkage_weighs_as_documented():
    """n answers weigh n / (n + 5) against the wider group; at the widest stands the prior."""
    made = learned(*[seen(20)] * 5)
    expected = PRIOR_OUTPUT_TOKENS
    for key in length_keys("w", "s", "m"):
        expected = expected.mixed(QuantileForecast.constant(20.0), 0.5)
        np.testing.assert_allclose(made.groups[key].values, expected.values)


def test_steps_are_told_apart_and_strangers_learn_from_kin():
    made = learned(*[seen(20, step="short")] * 40, *[seen(900, step="long")] * 40)
    assert made.predict(call(step="short"), NEW).quantile(0.5) < 40
    assert made.predict(call(step="long"), NEW).quantile(0.5) > 600
    assert 20 <= made.predict(call(step="new"), NEW).quantile(0.5) <= 900
    assert made.predict(call(workflow="new", step="new"), NEW) is made.groups["", "", "m"]
    assert made.predict(call("new", "new", "new"), NEW) is made.groups["", "", ""]


@pytest.mark.parametrize("observation", [seen(20, status="server"), seen(20, status="cancelled"), seen(0)])
def test_failures_and_empty_answers_teach_nothing(observation):
    learner = LengthLearner()
    learner.learn(observation)
    assert learner.snapshot() is None


def test_a_snapshot_is_made_only_of_news_and_never_changes():
    learner = LengthLearner()
    learner.learn(seen(20))
    first = learner.snapshot()
    assert learner.snapshot() is None
    before = first.predict(call(), NEW).values.copy()
    for _ in range(50):
        learner.learn(seen(900))
    second = learner.snapshot()
    assert second.predict(call(), NEW).quantile(0.5) > 500
    np.testing.assert_array_equal(first.predict(call(), NEW).values, before)
    with pytest.raises(TypeError):
        first.groups["", "", ""] = PRIOR_OUTPUT_TOKENS


def test_the_past_is_forgotten():
    made = learned(*[seen(900)] * 300, *[seen(20)] * 256)
    assert made.groups["w", "s", "m"].quantile(0.9) < 30


def test_memory_is_bounded(monkeypatch):
    from agentsched.forecast import length_learner as module

    monkeypatch.setattr(module, "_MAX_GROUPS", 50)
    learner = LengthLearner()
    for k in range(500):
        learner.learn(seen(20, workflow=f"w{k}"))
        learner.learn(seen(30, workflow="kept"))
    made = learner.snapshot()
    assert len(made.groups) <= 50
    assert len(learner._seen) <= 50
    assert ("", "", "") in made.groups
    assert ("kept", "s", "m") in made.groups, "what is used is not forgotten"
    assert ("w0", "s", "m") not in made.groups
    assert ("w499", "s", "m") in made.groups


def test_an_unknown_step_is_counted_once():
    learner = LengthLearner()
    learner.learn(seen(20, step=""))
    assert all(len(lengths) == 1 for lengths in learner._seen.values())


SCRIPT = """
from agentsched.forecast.length_learner import LengthLearner
from agentsched.core.call import Observation, ModelCall
learner = LengthLearner()
for k in range(30):
    learner.learn(Observation("c.1","c","r",f"w{k%3}",f"s{k%5}","e",f"m{k%2}",0.0,0.1,1.0,10,10+k,None,None,"ok"))
made = learner.snapshot()
print(sorted((key, [v.hex() for v in forecast.values.tolist()]) for key, forecast in made.groups.items()))
"""


def test_what_is_learned_does_not_depend_on_the_hashes_of_the_process():
    told = set()
    for seed in "012":
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        told.add(run.stdout)
    assert len(told) == 1
