"""Stakes of running calls: what newcomers pay for, and what clients tell each other."""

import math

import numpy as np
import pytest

from agentsched.core.call import ModelCall, RunInfo, Usage
from agentsched.core.decision import Choice, Situation, Stake
from agentsched.core.endpoint import Pool, Profile
from agentsched.core.load import EndpointLoad, combined_loads
from agentsched.core.protocols import Policy
from agentsched.core.rules import Rules, StreamRules
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.policy.deadline_aware import DeadlineAware
from agentsched.scheduler.actions import Action, Cancel, Start
from agentsched.scheduler.events import (
    AttemptFinished,
    CallArrived,
    OthersSeen,
    RunStarted,
    StreamsProgressed,
    TokensProgressed,
)
from agentsched.scheduler.knowledge import first_hand
from agentsched.scheduler.recording import decode, encode
from agentsched.scheduler.scheduler import Scheduler
from tests.scheduler.bench import FirstReady, FixedLengths, endpoint

PROFILE = Profile(ttft_s=0.1, tpot_s=0.02, tpot_per_batch_s=0.0)
K = 16


class Staked:
    """Puts every call on the first endpoint, with a stake."""

    name = "staked"

    def __init__(self, *, per_s: float = 0.25, tokens: float = 100.0, due_in: float | None = 4.0) -> None:
        self.per_s, self.tokens, self.due_in = per_s, tokens, due_in

    def choose(self, situation: Situation) -> Choice:
        due_at = None if self.due_in is None else situation.now + self.due_in
        lengths, rest = np.linspace(0.5, 1.5, K) * self.tokens, np.zeros(K)
        stake = Stake(self.per_s, self.tokens, lengths, rest, 1.0, due_at, -math.inf)
        return Choice(0, np.zeros(len(situation.names)), stake)


def scheduler(policy: Policy) -> Scheduler:
    pool = Pool([endpoint("a", profile=PROFILE), endpoint("b", profile=PROFILE)])
    made = Scheduler(pool, policy, EmpiricalLengths(), EmpiricalRemainders())
    made.handle(RunStarted(RunInfo("r", "w", 0.0)), now=0.0)
    return made


def call(made: Scheduler, k: int, now: float, *, stream: bool = True) -> str:
    made.handle(CallArrived(ModelCall(f"c{k}", "r", "w", "s", k, "m", input_tokens=10, stream=stream)), now=now)
    made.check_invariants()
    return f"c{k}.1"


def shown(made: Scheduler, now: float):
    return made.ledger.table.states(np.array([0, 1]), np.zeros(2), now)


def test_calls_bring_their_stake_and_take_it_away():
    made = scheduler(Staked())
    first, second = call(made, 0, 0.0), call(made, 1, 0.0)
    states = shown(made, 0.0)
    assert states.stake_per_s.tolist() == [0.5, 0.0]
    assert states.stake_tokens.tolist() == pytest.approx([100.0, 0.0])
    for attempt in (first, second):
        made.handle(AttemptFinished(attempt, Usage(10, 5)), now=0.1)
        made.check_invariants()
    assert shown(made, 0.1).stake_per_s.tolist() == [0.0, 0.0]


def test_stakes_follow_the_tokens_and_the_clock():
    """About 100 tokens of 20 ms: due in 6 s nothing is at stake, until the answer falls behind."""
    made = scheduler(Staked(due_in=6.0))
    attempt = call(made, 0, 0.0)
    made.handle(TokensProgressed(attempt, 20), now=0.6)
    on_time = shown(made, 0.6)
    assert on_time.stake_per_s[0] < 0.05
    assert on_time.stake_tokens[0] == pytest.approx(80.0, rel=0.2)
    made.handle(TokensProgressed(attempt, 21), now=4.5)
    assert shown(made, 4.5).stake_per_s[0] > 0.2
    made.handle(TokensProgressed(attempt, 22), now=9.0)
    assert shown(made, 9.0).stake_per_s[0] < 1e-3, "nothing is to be lost any more"


def test_a_silent_answer_is_taken_to_make_its_tokens():
    made = scheduler(Staked())
    call(made, 0, 0.0, stream=False)
    call(made, 1, 1.5, stream=False)
    assert shown(made, 1.5).stake_tokens[0] < 90.0


def test_the_mean_follows_slowly_and_refreshing_waits_for_its_time():
    made = scheduler(Staked(due_in=None))
    attempt = call(made, 0, 0.0)
    made.handle(TokensProgressed(attempt, 2), now=0.3)
    assert shown(made, 0.3).stake_mean_per_s[0] == 0.0
    for k in range(1, 41):
        made.handle(TokensProgressed(attempt, 2 + k), now=0.5 * k)
    mean = shown(made, 20.0).stake_mean_per_s[0]
    assert mean == pytest.approx(0.25 * (1 - math.exp(-1.0)), rel=0.1)
    assert shown(made, 20.0).stake_per_s[0] == pytest.approx(0.25), "without a deadline it stays what it was"


def test_rows_move_up_when_a_call_ends():
    made = scheduler(Staked())
    attempts = [call(made, k, 0.0) for k in range(200)]
    for attempt in attempts[::2]:
        made.handle(AttemptFinished(attempt, Usage(10, 5)), now=0.2)
    made.check_invariants()
    made.handle(TokensProgressed(attempts[1], 10), now=1.0)
    assert shown(made, 1.0).in_flight[0] == 100.0
    for attempt in attempts[1::2]:
        made.handle(AttemptFinished(attempt, Usage(10, 5)), now=1.2)
    made.check_invariants()
    assert shown(made, 1.2).stake_per_s[0] == pytest.approx(0.0, abs=1e-9)


# -- others ----------------------------------------------------------------------------------------------------------


def test_what_one_tells_another_takes():
    teller, hearer = scheduler(Staked()), scheduler(Staked())
    call(teller, 0, 0.0)
    call(teller, 1, 0.0)
    call(hearer, 0, 0.0)
    hearer.handle(OthersSeen(combined_loads([teller.loads()]), at=0.0), now=0.1)
    states = shown(hearer, 0.1)
    assert states.in_flight.tolist() == [1.0, 0.0]
    assert states.in_flight_all.tolist() == [3.0, 0.0]
    assert states.prefill_tokens_all.tolist() == [30.0, 0.0]
    assert states.stake_per_s.tolist() == pytest.approx([0.75, 0.0])
    assert states.stake_tokens[0] == pytest.approx(100.0)
    assert hearer.loads()[0].in_flight == 1.0, "only one's own is told on"


def test_who_has_nothing_at_stake_hears_what_others_have():
    teller, hearer = scheduler(Staked()), scheduler(Staked())
    call(teller, 0, 0.0)
    call(teller, 1, 0.0)
    hearer.handle(OthersSeen(teller.loads(), at=0.0), now=0.0)
    assert shown(hearer, 0.0).stake_per_s.tolist() == pytest.approx([0.5, 0.0])
    assert shown(hearer, 0.0).stake_tokens.tolist() == pytest.approx([100.0, 0.0])


def test_news_replace_news_and_old_ones_fade():
    made = scheduler(Staked())
    made.handle(OthersSeen((EndpointLoad("a", 8.0), EndpointLoad("b", 4.0)), at=0.0), now=0.0)
    made.handle(OthersSeen((EndpointLoad("a", 8.0), EndpointLoad("gone", 4.0)), at=1.0, fades_s=2.0), now=1.0)
    assert shown(made, 2.0).in_flight_all.tolist() == [8.0, 0.0]
    assert shown(made, 4.0).in_flight_all.tolist() == pytest.approx([8.0 * math.exp(-1.0), 0.0])
    assert shown(made, 60.0).in_flight_all.tolist() == [0.0, 0.0]


def test_a_stake_nobody_tells_is_taken_to_be_as_ones_own():
    made = scheduler(Staked())
    call(made, 0, 0.0)
    made.handle(OthersSeen((EndpointLoad("b", 4.0),), at=0.0), now=0.0)
    states = shown(made, 0.0)
    assert states.stake_per_s.tolist() == pytest.approx([0.25, 1.0])
    assert states.stake_tokens[1] == pytest.approx(100.0)


def test_loads_add_up():
    told = EndpointLoad("a", 1.0, 10.0, 0.5, 0.25, 100.0), EndpointLoad("a", 2.0, 20.0, 1.5, 0.25, 200.0)
    assert combined_loads([told[:1], told[1:]]) == (EndpointLoad("a", 3.0, 30.0, 2.0, 0.5, 175.0),)
    unknown = combined_loads([told[:1], (EndpointLoad("a", 1.0), EndpointLoad("b", 1.0))])
    assert unknown == (EndpointLoad("a", 2.0, 10.0), EndpointLoad("b", 1.0))


def test_news_of_others_are_recorded_exactly():
    event = OthersSeen((EndpointLoad("a", 1.0, 10.0, 0.5, 0.25, 100.0),), at=3.5)
    assert decode(encode(event)) == event


def test_tokens_told_together_are_the_same_as_one_after_another():
    """Eight streams at two endpoints, some with first tokens, over instants at which stakes are worked out anew."""
    alone, together = scheduler(DeadlineAware()), scheduler(DeadlineAware())
    attempts = []
    for k in range(8):
        asked = ModelCall(f"c{k}", "r", "w", "s", k, "m", stream=True, input_tokens=50 * k, due_at=4.0 + k)
        attempts += [action.attempt_id for action in alone.handle(CallArrived(asked), now=0.0) if type(action) is Start]
        together.handle(CallArrived(asked), now=0.0)
    rng = np.random.default_rng(5)
    for now in (0.3, 0.4, 1.1, 1.3, 2.2):
        some = rng.permutation(attempts)[:5].tolist()
        told = tuple((attempt, int(10 * now + rng.integers(1, 9))) for attempt in some)
        one_by_one = [
            action for attempt, tokens in told for action in alone.handle(TokensProgressed(attempt, tokens), now=now)
        ]
        assert encode(one_by_one) == encode(together.handle(StreamsProgressed(told), now=now))
    assert encode(first_hand(alone.ledger.table, 3.0)) == encode(first_hand(together.ledger.table, 3.0))
    assert alone.loads() == together.loads()
    assert all(load.stake_per_s > 0.0 for load in alone.loads())


@pytest.mark.parametrize("together", [False, True])
def test_who_waits_is_served_before_the_next_stream_is_thought_about(together: bool):
    """Two streams crawl at an endpoint that is full, and leave it; two calls that can go nowhere else wait there."""
    pool = Pool([endpoint("a", profile=PROFILE, max_concurrency=2), endpoint("b", profile=PROFILE)])
    rules = Rules(stream=StreamRules(upgrade_from_s=0.0))
    made = Scheduler(pool, FirstReady(), FixedLengths(200.0), EmpiricalRemainders(), rules)
    made.handle(RunStarted(RunInfo("r", "w", 0.0)), now=0.0)
    for k, pinned in enumerate((None, None, "a", "a")):
        made.handle(CallArrived(ModelCall(f"c{k}", "r", "w", "s", k, "m", deadline_at=60.0, pinned=pinned)), now=0.0)
    done: list[Action] = []
    for tokens in range(1, 9):
        told = ("c0.1", tokens), ("c1.1", tokens)
        events = [StreamsProgressed(told)] if together else [TokensProgressed(*one) for one in told]
        done += [action for event in events for action in made.handle(event, now=float(tokens))]
    told_to = [(type(action), action.call_id) for action in done if isinstance(action, Cancel | Start)]
    assert told_to == [(Cancel, "c0"), (Start, "c0"), (Start, "c2"), (Cancel, "c1"), (Start, "c1"), (Start, "c3")]
