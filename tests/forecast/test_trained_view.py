"""A trained forecaster among the views: it forecasts where it does best, and leaves without a trace."""

import numpy as np
import pytest

from agentsched.core.call import ModelCall
from agentsched.core.forecast import QuantileForecast
from agentsched.core.records import CallEnded
from agentsched.core.remainder import RunHistory
from agentsched.forecast.example_ring import ExampleRing
from agentsched.forecast.length import PLAIN, TRAINED
from agentsched.forecast.length_learner import LengthLearner
from agentsched.forecast.network_inputs import INPUTS, network_inputs
from agentsched.forecast.standings import Standings


class Prompts:
    """Knows what nobody else does: the answer is as long as the prompt."""

    def predict(self, inputs):
        return QuantileForecast.lognormal(float(np.expm1(10.0 * inputs[1])), 0.02)


def answered(k, tokens):
    call = ModelCall(f"c{k}", f"r{k}", "w", "s", 0, "m", input_tokens=tokens)
    return CallEnded(call, float(k), k + 0.5, "ok", "e", 1, 0, 0.0, 0.1, 10, tokens, None, 0.0)


def teach(learner, rng, begin, count):
    for k in range(begin, begin + count):
        learner.call_ended(answered(k, int(rng.integers(500, 1000))))
        if k % 10 == 0:
            learner.snapshot()


def asked(known, tokens):
    history = RunHistory()
    history.arrived("s", 0.0)
    return known.predict(answered(0, tokens).call, history)


def test_it_forecasts_where_it_does_best():
    learner, rng = LengthLearner(), np.random.default_rng(2)
    teach(learner, rng, 0, 80)
    assert learner.snapshot().trained is None
    learner.use(Prompts())
    known = learner.snapshot()
    assert known.view_of(answered(0, 600).call) != TRAINED, "it has to show it first"
    teach(learner, rng, 80, 240)
    known = learner.snapshot()
    assert known.view_of(answered(0, 600).call) == TRAINED
    assert asked(known, 600).quantile(0.5) == pytest.approx(600, rel=0.1)
    assert asked(known, 900).quantile(0.5) == pytest.approx(900, rel=0.1)


def test_taken_away_the_others_forecast_again():
    learner, rng = LengthLearner(Prompts()), np.random.default_rng(2)
    teach(learner, rng, 0, 120)
    assert learner.snapshot().view_of(answered(0, 600).call) == TRAINED
    learner.use(None)
    known = learner.snapshot()
    assert known.trained is None
    assert TRAINED not in known.views.values()
    assert asked(known, 600).quantile(0.9) > 700
    teach(learner, rng, 120, 10)


def test_a_part_is_exchanged_with_a_learner_that_has_none():
    rng = np.random.default_rng(2)
    learner, plain = LengthLearner(Prompts()), LengthLearner()
    teach(learner, rng, 0, 60)
    teach(plain, rng, 0, 60)
    former = learner.exchange("w", plain)
    assert former.trained is learner.trained
    teach(learner, rng, 60, 60)
    assert learner.snapshot().view_of(answered(0, 600).call) == TRAINED


def test_who_is_new_begins_level_with_the_first():
    standings, scopes = Standings(("a", "b")), (("", "", ""), ("w", "s", "m"))
    for _ in range(30):
        standings.update(scopes, (2.0, 1.0))
    standings.compare(("a", "b", "c"))
    assert standings.best(scopes) == "b"
    for _ in range(200):
        standings.update(scopes, (2.0, 1.0, 0.5))
    assert standings.best(scopes) == "c"
    standings.compare(("a", "b"))
    assert standings.best(scopes) == "a", "the first one leads until another one is shown to be better"
    standings.update(scopes, (2.0, 1.0))
    assert standings.best(scopes) == "b"


def test_every_answer_is_an_example():
    learner, ring = LengthLearner(), ExampleRing(3)
    learner.examples = ring.add
    for k in range(5):
        learner.call_ended(answered(k, 100 + k))
    inputs, tokens, cut = ring.latest()
    assert tokens.tolist() == [102, 103, 104]
    assert inputs.shape == (3, INPUTS)
    np.testing.assert_allclose(inputs[0], network_inputs(answered(2, 102).call, (), None), rtol=1e-6)
    assert not cut.any()
    assert ring.seen == 5
    assert PLAIN == "step"
