"""What other clients have: as told, and as supposed where nobody tells."""

import numpy as np
import pytest

from agentsched.core.endpoint import Endpoint, Profile
from agentsched.core.load import EndpointLoad
from agentsched.core.rules import BreakerRules
from agentsched.scheduler.endpoint_table import EndpointTable
from agentsched.scheduler.events import OthersSeen
from tests.scheduler.bench import Bench

PROFILE = Profile(ttft_s=0.1, tpot_s=0.02, tpot_per_batch_s=0.001, prefill_tokens_per_s=1000.0)
BOTH = np.array([0, 1], dtype=np.intp)


def a_table(clients: int = 1, rpm: float | None = None) -> EndpointTable:
    endpoints = [Endpoint(name, f"http://{name}/v1", "m", profile=PROFILE, rpm=rpm) for name in "ab"]
    return EndpointTable(endpoints, BreakerRules(), clients)


def look(table: EndpointTable, now: float, stakes: tuple[float, float] = (0.0, 0.0)) -> None:
    table.refresh_stakes(BOTH, np.array(stakes), 10.0 * np.array(stakes), now)


def all_in_flight(table: EndpointTable, now: float) -> list[float]:
    return list(map(float, table.states(BOTH, np.zeros(2), now).in_flight_all))


def closed_s(table: EndpointTable, now: float) -> list[float]:
    closed = table.gates.closed_s(BOTH, 1.0, now)
    return [0.0, 0.0] if closed is None else list(map(float, closed))


def told(table: EndpointTable, at: float, *loads: EndpointLoad, clients: int | None = 3) -> None:
    table.others_seen(OthersSeen(loads, at, good_s=1.0, fades_s=2.0, clients=clients))


def test_who_is_alone_supposes_nothing() -> None:
    table = a_table()
    table.rows.in_flight[:] = 3.0, 1.0
    table.speeds.saw_pace(0, 10.0, 10.0, 1.0)
    look(table, 1.0, (0.5, 0.1))
    assert not table.others.known(1.0)
    assert all_in_flight(table, 1.0) == [3.0, 1.0]


def test_others_are_supposed_to_do_as_much_as_this_one_does_on_average() -> None:
    table = a_table(clients=5)
    for second in range(40):
        table.rows.in_flight[:] = 3.0 + (-1.0) ** second, 0.0
        look(table, float(second), (0.3, 0.0))
    assert all_in_flight(table, 39.0) == pytest.approx([2.0 + 4 * 3.0, 0.0], rel=0.05)
    states = table.states(BOTH, np.zeros(2), 39.0)
    assert states.stake_per_s[0] == pytest.approx(0.3 + 4 * 0.3, rel=0.05)
    assert states.stake_tokens[0] == pytest.approx(10.0, rel=0.05)


def test_a_pace_gives_away_the_batch_until_it_is_old() -> None:
    table = a_table(clients=5)
    table.rows.in_flight[:] = 1.0, 1.0
    look(table, 0.0)
    for k in range(60):
        table.speeds.saw_pace(0, 50.0, 50.0 * 0.025, 0.01 * k)
    look(table, 0.6)
    assert all_in_flight(table, 0.6) == pytest.approx([5.0, 5.0], rel=0.05)
    table.speeds.saw_pace(0, 50.0, 50.0 * 0.041, 5.0)
    look(table, 5.1)
    assert all_in_flight(table, 5.1) == pytest.approx([21.0, 5.0], rel=0.1)
    look(table, 60.0)
    assert all_in_flight(table, 60.0) == pytest.approx([5.0, 5.0], rel=0.02)


def test_what_is_told_comes_before_what_is_supposed_and_fades_into_it() -> None:
    table = a_table(clients=5)
    table.rows.in_flight[:] = 1.0, 1.0
    look(table, 0.0)
    told(table, 0.0, EndpointLoad("a", 9.0, stake_per_s=0.2, queue_stake_per_s=0.4), clients=4)
    assert all_in_flight(table, 0.5) == [10.0, 1.0]
    states = table.states(BOTH, np.zeros(2), 0.5)
    assert states.stake_per_s.tolist() == [0.2, 0.0]
    assert states.queue_stake_per_s.tolist() == [0.4, 0.0]
    half = float(np.exp(-0.5))
    assert all_in_flight(table, 2.0) == pytest.approx([1.0 + 9.0 * half + 4.0 * (1.0 - half), 1.0 + 4.0 * (1.0 - half)])
    assert all_in_flight(table, 60.0) == [5.0, 5.0]


def test_the_number_of_clients_is_heard_of_and_outlives_the_news() -> None:
    table = a_table()
    table.rows.in_flight[:] = 2.0, 0.0
    told(table, 0.0, EndpointLoad("a", 6.0), clients=3)
    look(table, 0.0)
    assert all_in_flight(table, 0.0) == [8.0, 0.0]
    look(table, 60.0)
    assert all_in_flight(table, 60.0) == [8.0, 0.0], "three others, supposed to do as this one does"


def test_when_all_others_have_left_nothing_is_supposed_any_more() -> None:
    table = a_table()
    table.rows.in_flight[:] = 2.0, 0.0
    told(table, 0.0, EndpointLoad("a", 6.0), clients=3)
    look(table, 0.5)
    told(table, 1.0, clients=0)
    assert not table.others.known(1.0)
    assert all_in_flight(table, 1.0) == [2.0, 0.0]


def test_that_all_others_are_idle_is_news_too() -> None:
    table = a_table(clients=4)
    table.rows.in_flight[:] = 2.0, 0.0
    look(table, 0.0)
    told(table, 0.0, clients=3)
    assert all_in_flight(table, 0.5) == [2.0, 0.0]


def test_the_load_of_others_is_not_taken_for_a_slow_server() -> None:
    alone, together = a_table(), a_table()
    for table in (alone, together):
        table.rows.in_flight[0] = 1.0
        if table is together:
            told(table, 0.0, EndpointLoad("a", 19.0))
        for k in range(30):
            table.speeds.saw_pace(0, 50.0, 50.0 * 0.04, 0.01 * k)
    assert together.speeds.pace_scale[0] == pytest.approx(1.0, abs=0.01)
    assert alone.speeds.pace_scale[0] > 1.5


def test_others_that_come_after_a_pace_was_seen_slow_it_down() -> None:
    table = a_table()
    table.rows.in_flight[0] = 1.0
    told(table, 0.0, EndpointLoad("a", 19.0))
    for k in range(30):
        table.speeds.saw_pace(0, 50.0, 50.0 * 0.04, 0.01 * k)
    before = table.pace(0.3)[0]
    told(table, 0.3, EndpointLoad("a", 29.0))
    assert table.pace(0.3)[0] - before == pytest.approx(0.01, rel=0.02)


def test_others_spend_alike_of_a_limit_while_nobody_tells() -> None:
    table = a_table(clients=4, rpm=60.0)
    for k in range(10):
        table.begin(0, 10.0, 10.0, float(k))
    look(table, 10.0)
    assert closed_s(table, 10.0) == [0.0, 0.0]
    for k in range(5):
        table.begin(0, 10.0, 10.0, 10.0 + 0.1 * k)
    look(table, 10.5)
    assert closed_s(table, 10.5) == [0.0, 0.0]
    bucket = table.gates.request_buckets[0]
    assert bucket is not None
    level = 60.0 - 3.0 * bucket.used(10.5)
    for _ in range(int(level)):
        table.begin(0, 10.0, 10.0, 10.5)
    assert closed_s(table, 10.5)[0] > 0.0, "the other three have what is left of sixty"


def test_a_server_full_of_others_is_not_taken_for_an_idle_one() -> None:
    """The first token shows what an idle server takes only where nobody else's calls were there, either."""
    idle_s = []
    for others in (0.0, 19.0):
        bench = Bench("a")
        bench.feed(OthersSeen((EndpointLoad("a", others),), bench.now, good_s=60.0, clients=3))
        bench.run()
        call = bench.call()
        bench.now += 5.0
        bench.progress(call)
        idle_s.append(float(bench.scheduler.ledger.table.rows.ttft_idle_s[0]))
    assert idle_s[0] > 2.0 > 1.0 > idle_s[1]
