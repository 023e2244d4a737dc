"""The check of policies finds every kind of breach, and our own policies pass it (tests/policy/test_conformance.py)."""

import numpy as np
import pytest

from agentsched.core.decision import Choice, Decision, Situation
from agentsched.policy.shortest_completion import ShortestExpectedCompletion
from agentsched.testing import check_policy, random_situations, situation
from agentsched.testing.situations import IDLE


class Good:
    """The fewest calls in flight, among those that are ready soonest."""

    name = "good"

    def choose(self, situation: Situation) -> Choice:
        states = situation.states
        scores = np.where(states.ready_in_s <= states.ready_in_s.min(), -states.in_flight, -np.inf)
        return Choice(int(scores.argmax()), scores)


class Nameless(Good):
    name = ""


class Careless(Good):
    """Does not ask who is ready."""

    def choose(self, situation: Situation) -> Choice:
        return Choice(int(situation.states.in_flight.argmin()), -situation.states.in_flight)


class OutOfRange(Good):
    def choose(self, situation: Situation) -> Choice:
        return Choice(len(situation.names), super().choose(situation).scores)


class NumpyIndex(Good):
    def choose(self, situation: Situation) -> Choice:
        scores = super().choose(situation).scores
        return Choice(scores.argmax(), scores)  # type: ignore[arg-type]


class NotANumber(Good):
    def choose(self, situation: Situation) -> Choice:
        choice = super().choose(situation)
        return Choice(choice.index, choice.scores * np.nan)


class NotTheBest(Good):
    def choose(self, situation: Situation) -> Choice:
        choice = super().choose(situation)
        return Choice(choice.index, -choice.scores)


class WrongShape(Good):
    def choose(self, situation: Situation) -> Choice:
        choice = super().choose(situation)
        return Choice(choice.index, choice.scores[: choice.index + 1])


class Scribbler(Good):
    """Works in place on what it was shown."""

    def choose(self, situation: Situation) -> Choice:
        states = situation.states
        states.in_flight += 1.0
        return super().choose(situation)


class Counter(Good):
    """Round robin by a counter: choosing changes it."""

    def __init__(self) -> None:
        self._turn = 0

    def choose(self, situation: Situation) -> Choice:
        self._turn += 1
        scores = super().choose(situation).scores
        ready = np.flatnonzero(scores > -np.inf)
        scores[ready[self._turn % ready.size]] = 1.0
        return Choice(int(scores.argmax()), scores)


class Individual(Good):
    """Every new one has other preferences."""

    made = 0

    def __init__(self) -> None:
        Individual.made += 1
        self._own = Individual.made

    def choose(self, situation: Situation) -> Choice:
        scores = super().choose(situation).scores
        return Choice(int(scores.argmax()), scores * self._own - self._own)


class Gossip(Good):
    """Remembers, but in a place that all of them share: a fresh one is not fresh."""

    seen: list[str] = []  # noqa: RUF012

    def remember(self, record: object) -> None:
        if isinstance(record, Decision):
            self.seen.append(record.endpoint)

    def choose(self, situation: Situation) -> Choice:
        scores = super().choose(situation).scores - np.array([self.seen.count(name) for name in situation.names])
        return Choice(int(scores.argmax()), scores)


def test_a_good_one_passes():
    check_policy(Good)


@pytest.mark.parametrize(
    ("policy", "breach"),
    [
        (Nameless, "has no name"),
        (Careless, "will never be ready, but others will"),
        (OutOfRange, "is no candidate"),
        (NumpyIndex, "index is no int but int64"),
        (NotANumber, "a score is NaN"),
        (NotTheBest, "has not the best score"),
        (WrongShape, "scores have the shape"),
        (Scribbler, "it writes to the situation"),
        (Counter, "choosing has changed the policy"),
        (Individual, "a new policy chooses otherwise"),
        (Gossip, "a recording does not replay: "),
    ],
)
def test_a_breach_is_found(policy, breach):
    with pytest.raises(AssertionError, match=breach):
        check_policy(policy, situations=70)


def test_a_policy_s_own_mistake_is_shown_as_it_is():
    class Broken(Good):
        def choose(self, situation: Situation) -> Choice:
            raise ValueError("not about writing")

    with pytest.raises(ValueError, match="not about writing"):
        check_policy(Broken)


def test_a_policy_that_reads_speeds_in_secret_is_found():
    class Secret(ShortestExpectedCompletion):
        reads_speeds = False

    with pytest.raises(AssertionError, match="at other speeds, which it says not to read"):
        check_policy(Secret)


# -- situations ------------------------------------------------------------------------------------------------------


def test_a_situation_is_an_idle_endpoint_with_differences():
    made = situation({"in_flight": 3.0, "prefill_tokens": 50.0}, {}, output_tokens=20)
    assert made.names == ("e0", "e1")
    assert made.states.in_flight.tolist() == made.states.in_flight_all.tolist() == [3.0, 0.0]
    assert made.states.prefill_tokens_all.tolist() == [50.0, 0.0]
    assert made.states.tpot_s.tolist() == [IDLE["tpot_s"]] * 2
    assert made.tpot_s[0] > made.tpot_s[1]
    assert made.output_tokens.mean == 20.0


def test_a_misspelt_field_is_refused():
    with pytest.raises(TypeError, match="no such field of EndpointStates: inflight"):
        situation({"inflight": 3.0})


def test_random_situations_repeat_and_cover_the_extremes():
    made = list(random_situations(np.random.default_rng(1), 70))
    again = list(random_situations(np.random.default_rng(1), 70))
    assert [one.call for one in made] == [one.call for one in again]
    assert {len(one.names) for one in made} == {1, 2, 3, 5, 13, 64, 512}
    for one, other in zip(made, again, strict=True):
        np.testing.assert_array_equal(one.states.tpot_s, other.states.tpot_s)
        assert not np.isnan(one.ttft_s).any()
        assert not np.isnan(one.tpot_s).any()
    ready = [np.isfinite(one.states.ready_in_s) for one in made]
    assert any(not one.any() for one in ready)
    assert any(one.any() and not one.all() for one in ready)
    slack = [one.slack_s for one in made]
    assert None in slack
    assert any(one is not None and one < 0 for one in slack)
