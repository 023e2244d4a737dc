"""The invariants notice when the books are wrong: each is broken once."""

import pytest

from agentsched.errors import InvariantViolated
from tests.scheduler.bench import Bench, endpoint


@pytest.fixture
def bench() -> Bench:
    """One call runs, one waits."""
    bench = Bench(endpoint("a", max_concurrency=1))
    bench.call(10.0, call_id="running")
    bench.call(10.0, call_id="waiting")
    bench.scheduler.check_invariants()
    return bench


def break_slots(ledger):
    ledger.table.rows.in_flight[0] = 0.0


def break_limit(ledger):
    ledger.table.rows.slots[0] = 0.0


def break_owner(ledger):
    ledger._open["running.1"] = ledger.calls["waiting"], ledger.calls["running"].attempts["running.1"]


def break_orphan(ledger):
    ledger._open["nobody.1"] = ledger._open["running.1"]


def break_prefill(ledger):
    ledger.table.rows.prefill_tokens[0] = -1.0


def break_waiting_room(ledger):
    ledger.waiting.clear()


def break_waiting_order(ledger):
    ledger.waiting.insert(0, ((float("inf"), 9), "running"))


def break_waiting_count(ledger):
    ledger.table.gates.waiting[0] = 0.0


def break_both(ledger):
    ledger.calls["running"].waiting_since = 1.0


def break_answer(ledger):
    ledger.calls["running"].delivered = "running.7"


def break_clock(ledger):
    ledger.calls["running"].review_at = float("inf")


def break_runs(ledger):
    ledger.runs["r"].calls.clear()


def break_money(ledger):
    ledger.runs["r"].committed_usd = 1.0


def break_steps(ledger):
    ledger.runs["r"].begun.add("critique#0")
    ledger.runs["r"].skipped["critique#0"] = "it takes too long"


@pytest.mark.parametrize("damage", [value for name, value in list(globals().items()) if name.startswith("break_")])
def test_damage_is_noticed(bench, damage):
    damage(bench.scheduler.ledger)
    with pytest.raises(InvariantViolated):
        bench.scheduler.check_invariants()
