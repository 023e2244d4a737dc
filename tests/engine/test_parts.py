"""The engine's small parts: prefix cache, rate limit, interruptions, spans, profiles' figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.engine import HardwareProfile, HostedProfile, PrefixCache, RateLimit, Span, block_chain
from agentsched.engine.interruptions import Outages, Slowdowns
from agentsched.errors import ConfigError


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=200))
def test_chains_agree_exactly_as_far_as_whole_blocks_do(shared: bytes, one: bytes, other: bytes) -> None:
    left, right = block_chain(shared + one, 8), block_chain(shared + other, 8)
    same = 0
    for first, second in zip(left, right, strict=False):
        if first != second:
            break
        same += 1
    first_text, second_text = shared + one, shared + other
    shortest = min(len(first_text), len(second_text))
    differing = (at for at in range(shortest) if first_text[at] != second_text[at])
    expected = next(differing, shortest) // 8
    assert same == expected


def test_a_block_counts_only_behind_the_same_beginning() -> None:
    assert block_chain(b"aaaabbbb", 4)[1] != block_chain(b"ccccbbbb", 4)[1]


def test_the_cache_finds_the_longest_held_prefix_and_drops_the_oldest() -> None:
    cache = PrefixCache(block_tokens=10, capacity_tokens=50)
    cache.insert((1, 2, 3))
    assert cache.match((1, 2, 9, 3)) == 20
    cache.insert((7, 8, 9))
    assert cache.tokens == 50
    assert cache.match((1, 2, 3)) == 20, "the end of the older chain went first"
    cache.squeeze(15)
    assert cache.match((1, 2)) == 10, "what was used last is kept"
    cache.clear()
    assert cache.match((1,)) == cache.tokens == 0


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 200)), max_size=40))
def test_a_rate_limit_never_lets_more_through_than_its_rate_and_one_burst(calls: list[tuple[float, int]]) -> None:
    limit = RateLimit(requests_per_minute=10, tokens_per_minute=600)
    now, taken, tokens_taken = 0.0, 0, 0
    for gap, tokens in calls:
        now += gap
        wait_s = limit.take(now, tokens)
        assert wait_s >= 0
        if wait_s == 0:
            taken += 1
            tokens_taken += tokens
    assert taken <= 10 + now * 10 / 60 + 1e-6
    assert tokens_taken <= 600 + now * 600 / 60 + 1e-6


def test_waiting_as_long_as_told_is_enough() -> None:
    limit = RateLimit(requests_per_minute=None, tokens_per_minute=600)
    assert limit.take(0.0, 500) == 0
    wait_s = limit.take(0.0, 300)
    assert wait_s == pytest.approx(20.0)
    assert limit.take(wait_s, 300) == 0


def test_a_refund_and_an_oversized_demand() -> None:
    limit = RateLimit(None, 100)
    assert limit.take(0.0, 500) == 0, "more than a bucket holds passes on a full one"
    assert limit.take(0.0, 1) > 0
    limit.refund(0.0, 10_000)
    assert limit.take(0.0, 100) == 0
    assert limit.headers(0.0)["x-ratelimit-remaining-tokens"] == "0"
    assert RateLimit(None, None).headers(0.0) == {}


def test_slowdowns_multiply_and_end() -> None:
    slowdowns = Slowdowns()
    slowdowns.add(2.0, 1.0, 3.0)
    slowdowns.add(3.0, 2.0, 4.0)
    assert [slowdowns.factor_at(instant) for instant in (0.0, 1.0, 2.0)] == [1.0, 2.0, 6.0]
    assert slowdowns.next_change_after(2.0) == 3.0
    assert slowdowns.factor_at(3.0) == 3.0
    assert slowdowns.factor_at(4.0) == 1.0
    for bad in ((0.0, 1.0, 2.0), (2.0, 2.0, 2.0)):
        with pytest.raises(ValueError, match="slowdown"):
            slowdowns.add(*bad)


def test_outages_begin_in_order() -> None:
    outages = Outages()
    outages.add(5.0, 6.0)
    outages.add(1.0, 2.0)
    assert (outages.next_start_s, outages.begin(), outages.next_start_s) == (1.0, 2.0, 5.0)
    with pytest.raises(ValueError, match="outage"):
        outages.add(3.0, 3.0)


@given(
    st.floats(0, 1e6),
    st.floats(1e-4, 10),
    st.one_of(st.just(0.0), st.floats(1e-9, 1e-2)),
    st.integers(1, 5000),
    st.data(),
)
def test_spans_count_their_steps(start: float, first: float, growth: float, limit: int, data: st.DataObject) -> None:
    span = Span(start, first, growth)
    step = data.draw(st.integers(0, limit))
    ended = span.steps_by(span.end_of(step), limit)
    assert span.end_of(ended) <= span.end_of(step)
    assert ended == limit or span.end_of(ended + 1) > span.end_of(step)
    assert span.steps_begun_before(span.end_of(step), limit) <= min(limit, ended + 1)


def test_the_step_model_is_its_formula() -> None:
    profile = HardwareProfile("p", 0.01, 0.001, 1e-6, 1000, 8, 1000, prefill_hidden_s=0.05, prefill_attention_s=1e-6)
    assert profile.decode_step_s(3, 500) == pytest.approx(0.01 + 0.003 + 0.0005)
    assert profile.prefill_s(40, 0) == 0.0, "hidden behind the weight read"
    assert profile.prefill_s(100, 4950) == pytest.approx(0.1 - 0.05 + 0.00495)
    prior = profile.prior(mean_context_tokens=2000)
    assert (prior.tpot_s, prior.tpot_per_batch_s) == (0.01, pytest.approx(0.003))
    assert profile.context_limit_tokens == 1000


def test_hosted_priors_have_no_batch() -> None:
    profile = HostedProfile("h", 0.5, 0.1, 0.02, 0.1)
    assert (profile.prior().ttft_s, profile.prior().tpot_per_batch_s) == (0.5, 0.0)


@pytest.mark.parametrize("field", ["step_base_s", "prefill_tokens_per_s", "max_slots", "kv_tokens", "block_tokens"])
def test_impossible_figures_are_refused_by_name(field: str) -> None:
    figures = {"step_base_s": 0.01, "step_per_sequence_s": 0.0, "step_per_kv_token_s": 0.0, "prefill_tokens_per_s": 1.0}
    with pytest.raises(ConfigError, match=field):
        HardwareProfile(**{"name": "p", **figures, "max_slots": 1, "kv_tokens": 1, field: 0})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="stall_probability"):
        HostedProfile("h", 0.5, 0.1, 0.02, 0.1, stall_probability=1.5)
