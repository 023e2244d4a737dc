"""The hosted API: random latency from outside, limits, and nothing lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsched.engine import HostedApi, HostedProfile, Request
from tests.engine.driving import Abort, Submit, drive

API = HostedProfile(
    name="api", ttft_median_s=0.4, ttft_sigma=0.5, tpot_median_s=0.01, tpot_sigma=0.3, max_context_tokens=1_000
)


def api(profile: HostedProfile = API, *, seed: int = 0, detail: bool = True) -> HostedApi:
    return HostedApi(profile, np.random.default_rng(seed), detail=detail)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 900), st.integers(1, 60)), min_size=1, max_size=15),
    st.lists(st.tuples(st.floats(0, 4), st.integers(0, 14)), max_size=4),
    st.one_of(st.none(), st.floats(0.1, 3)),
)
@settings(max_examples=60, deadline=None)
def test_every_call_ends_exactly_once_with_all_its_tokens(
    calls: list[tuple[float, int, int]], aborts: list[tuple[float, int]], outage_s: float | None
) -> None:
    model = api()
    if outage_s is not None:
        model.fail(outage_s, outage_s + 0.5)
    submits = [Submit(at, Request(f"r{index}", prompt, out)) for index, (at, prompt, out) in enumerate(calls)]
    run = drive(model, [*submits, *(Abort(at, f"r{index}") for at, index in aborts)])
    for index, (_, _, out) in enumerate(calls):
        name = f"r{index}"
        assert [name in book for book in (run.finished, run.aborted, run.failed, run.rejected)].count(True) == 1
        assert (len(run.token_times[name]) == out) == (name in run.finished)
        assert run.token_times[name] == sorted(run.token_times[name])
    assert model.load().running == 0
    assert model.next_step_at() is None


def test_milestones_are_the_same_without_detail() -> None:
    submits = [Submit(0.1 * index, Request(f"r{index}", 10, 1 + 7 * index)) for index in range(6)]
    full, brief = drive(api(), submits), drive(api(detail=False), submits, stops="events")
    assert brief.finished == full.finished
    assert {name: times[0] for name, times in brief.token_times.items()} == {
        name: times[0] for name, times in full.token_times.items()
    }


def test_latencies_have_the_profiles_medians_and_the_seed_decides() -> None:
    submits = [Submit(100.0 * index, Request(f"r{index}", 10, 2)) for index in range(600)]
    run = drive(api(), submits)
    ttfts = [run.ttft_s(f"r{index}") - 100.0 * index for index in range(600)]
    tpots = [np.diff(run.token_times[f"r{index}"])[0] for index in range(600)]
    assert np.median(ttfts) == pytest.approx(0.4, rel=0.1)
    assert np.std(np.log(ttfts)) == pytest.approx(0.5, rel=0.1)
    assert np.median(tpots) == pytest.approx(0.01, rel=0.1)
    assert drive(api(), submits[:5]).finished == drive(api(), submits[:5]).finished
    assert drive(api(seed=1), submits[:5]).finished != drive(api(), submits[:5]).finished


def test_stalls_come_on_top() -> None:
    stalling = replace(API, stall_probability=0.5, stall_mean_s=60.0)
    run = drive(api(stalling), [Submit(1000.0 * index, Request(f"r{index}", 10, 1)) for index in range(200)])
    late = sum(run.ttft_s(f"r{index}") - 1000.0 * index > 5.0 for index in range(200))
    assert 70 < late < 115


def test_calls_do_not_slow_each_other_but_long_prompts_do_if_told() -> None:
    steady = replace(API, ttft_sigma=0.0, tpot_sigma=0.0, prefill_tokens_per_s=1_000.0)
    run = drive(api(steady), [Submit(0.0, Request(f"r{index}", 100 + 800 * (index == 0), 10)) for index in range(9)])
    assert run.ttft_s("r0") == pytest.approx(1.3)
    assert {round(run.finished[f"r{index}"], 9) for index in range(1, 9)} == {round(0.5 + 9 * 0.01, 9)}


def test_the_rate_limit_refuses_and_says_for_how_long() -> None:
    limited = replace(API, requests_per_minute=2.0)
    model = api(limited)
    assert model.submit(Request("a", 1, 1), 0.0) is None
    assert model.submit(Request("b", 1, 1), 0.0) is None
    refusal = model.submit(Request("c", 1, 1), 0.0)
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after_s) == ("rate_limited", pytest.approx(30.0))
    assert model.submit(Request("c", 1, 1), 30.0) is None


def test_too_long_a_call_is_refused_and_a_slowdown_stretches() -> None:
    model = api(replace(API, ttft_sigma=0.0, tpot_sigma=0.0))
    refusal = model.submit(Request("a", 900, 200), 0.0)
    assert refusal is not None
    assert refusal.reason == "context_length"
    model.slow_down(3.0, 1.0, 2.0)
    run = drive(model, [Submit(0.5, Request("usual", 1, 2)), Submit(1.5, Request("slow", 1, 2))])
    assert run.ttft_s("usual") - 0.5 == pytest.approx(0.4)
    assert run.ttft_s("slow") - 1.5 == pytest.approx(1.2)


def test_generated_follows_the_clock() -> None:
    model = api(replace(API, ttft_sigma=0.0, tpot_sigma=0.0))
    model.submit(Request("a", 1, 50), 0.0)
    seen = []
    for now in (0.1, 0.4, 0.5, 0.6):
        model.advance(now + 1e-9)
        seen.append(model.generated("a"))
    assert seen == [0, 1, 11, 21]
    assert model.generated("b") is None
    assert repr(model) == "HostedApi('api', running=1)"


def test_misuse_is_refused() -> None:
    model = api()
    model.submit(Request("a", 1, 50), 1.0)
    with pytest.raises(ValueError, match="in use"):
        model.submit(Request("a", 1, 50), 1.0)
    with pytest.raises(ValueError, match="went back"):
        model.advance(0.0)
