"""Calls without a deadline wait by what their tenants have had; those with one go before them."""

import pytest

from agentsched.scheduler.fairness import AttainedService
from tests.scheduler.bench import Bench, endpoint


def test_service_is_weighted_and_forgotten():
    attained = AttainedService()
    attained.add("a", 8.0, 0, 0.0)
    attained.add("b", 8.0, 2, 0.0)
    assert (attained.of("a", 0.0), attained.of("b", 0.0), attained.of("new", 0.0)) == (8.0, 2.0, 0.0)
    attained.add("a", 1.0, 0, 0.0)
    assert attained.of("a", 0.0) == 9.0
    assert attained.of("a", 300.0) == pytest.approx(9.0 / 2.718281828)


def test_it_remembers_a_bounded_number_of_tenants():
    attained = AttainedService()
    for k in range(3000):
        attained.add(f"t{k}", 1.0, 0, 0.0)
    assert attained.of("t2999", 0.0) == 1.0
    assert attained.of("t0", 0.0) == 0.0


def test_the_tenant_that_had_less_goes_first_and_a_deadline_before_both():
    bench = Bench(endpoint("a", max_concurrency=1))
    served, current = bench.call(tenant="greedy"), bench.call(tenant="greedy")
    bench.advance(10.0)
    bench.finish(served)
    greedy, modest = bench.call(tenant="greedy"), bench.call(tenant="modest")
    urgent = bench.call(500.0, tenant="greedy")
    for expected in (urgent, modest, greedy):
        assert not expected.starts
        bench.advance(1.0)
        bench.finish(current)
        assert len(expected.starts) == 1
        current = expected
