"""Users' scores reach the decision: what is learned of quality takes the place of what was declared."""

from types import MappingProxyType

import pytest

from agentsched.core.decision import Choice
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.quality import EmpiricalQualities, Judged
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.policy.shortest_completion import ShortestExpectedCompletion
from agentsched.scheduler.events import ForecastsReplaced
from tests.scheduler.bench import Bench, endpoint


class Spy:
    name = "spy"

    def __init__(self):
        self.quality = None

    def choose(self, situation) -> Choice:
        self.quality = situation.states.quality.tolist()
        return ShortestExpectedCompletion().choose(situation)


@pytest.fixture
def spy():
    return Spy()


def test_scores_take_the_place_of_what_was_declared(spy):
    bench = Bench(endpoint("a", quality=0.5), endpoint("b", quality=0.7), policy=spy)
    bench.run()
    bench.call(10.0)
    assert spy.quality == [0.5, 0.7]
    groups = MappingProxyType({("", "", "small"): Judged(400.0, 0.95)})
    known = EmpiricalQualities(groups, MappingProxyType({"a": "small"}))
    bench.feed(ForecastsReplaced(EmpiricalLengths(), EmpiricalRemainders(), known))
    bench.call(10.0)
    assert spy.quality == [pytest.approx(0.941, abs=0.01), 0.7]
    bench.feed(ForecastsReplaced(EmpiricalLengths(), EmpiricalRemainders()))
    bench.call(10.0)
    assert spy.quality == [0.5, 0.7]


def test_what_is_required_is_compared_with_what_was_declared(spy):
    bench = Bench(endpoint("a", quality=0.5), endpoint("b", quality=0.7), policy=spy)
    known = EmpiricalQualities(MappingProxyType({("", "", "a"): Judged(400.0, 1.0)}))
    bench.feed(ForecastsReplaced(EmpiricalLengths(), EmpiricalRemainders(), known))
    bench.run()
    assert bench.call(10.0, min_quality=0.6).places == ["b"]
