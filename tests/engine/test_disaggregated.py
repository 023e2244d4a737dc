"""A prefill and a decode instance as one endpoint."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsched.engine import DisaggregatedPair, DisaggregatedProfile, HardwareProfile, Instance, Request
from agentsched.engine.profiles import profile_from_mapping
from agentsched.errors import ConfigError
from agentsched.sim.ideal import unloaded_s
from tests.engine.driving import Abort, Submit, drive
from tests.engine.test_instance import TIGHT, loads

LINK = {"transfer_tokens_per_s": 5_000.0, "transfer_latency_s": 0.004}


@pytest.fixture
def pair_profile(profile: HardwareProfile) -> DisaggregatedProfile:
    return DisaggregatedProfile("pair", profile, replace(profile, name="decoder", step_base_s=0.006), **LINK)


@given(
    loads(),
    st.lists(st.tuples(st.floats(0, 4, allow_nan=False), st.integers(0, 11)), max_size=5),
    st.one_of(st.none(), st.floats(0.01, 3)),
)
@settings(max_examples=100, deadline=None)
def test_every_request_ends_exactly_once(
    arrivals: list[tuple[float, Request]], aborts: list[tuple[float, int]], outage_s: float | None
) -> None:
    pair = DisaggregatedPair(DisaggregatedProfile("pair", TIGHT, replace(TIGHT, max_slots=2), **LINK))
    if outage_s is not None:
        pair.fail(outage_s, outage_s + 0.2)
    operations = [Submit(at, request) for at, request in arrivals]
    aborting = [Abort(at, f"r{index}") for at, index in aborts]
    run = drive(pair, [*operations, *aborting], check=pair.check_invariants)
    for _, request in arrivals:
        name = request.request_id
        ends = [name in book for book in (run.finished, run.aborted, run.failed, run.rejected)]
        assert ends.count(True) == 1, (name, ends)
        times = run.token_times[name]
        assert (len(times) == request.output_tokens) == (name in run.finished)
        assert all(earlier < later for earlier, later in pairwise(times))
    load = pair.load()
    assert (load.running, load.waiting, load.kv_used_tokens) == (0, 0, 0)
    assert pair.next_event_at() is None


@pytest.mark.parametrize("output", [1, 2, 30])
def test_alone_it_takes_prefill_transfer_and_decode(pair_profile: DisaggregatedProfile, output: int) -> None:
    run = drive(DisaggregatedPair(pair_profile), [Submit(0.0, Request("a", 250, output))])
    assert run.finished["a"] == pytest.approx(unloaded_s(pair_profile, 250, output), rel=1e-9)
    assert run.ttft_s("a") == pytest.approx(unloaded_s(pair_profile.prefill, 250, 1), rel=1e-9)
    if output > 1:
        gap = run.token_times["a"][1] - run.token_times["a"][0]
        assert gap == pytest.approx(pair_profile.transfer_s(250) + 0.006 + 1 / 10_000, rel=1e-9)


def test_a_long_prompt_does_not_hold_up_what_is_being_decoded(profile: HardwareProfile) -> None:
    def longest_gap(model: Instance | DisaggregatedPair) -> float:
        run = drive(model, [Submit(0.0, Request("a", 20, 60)), Submit(0.3, Request("b", 400, 2))])
        return max(later - earlier for earlier, later in list(pairwise(run.token_times["a"]))[1:])

    fast_link = DisaggregatedProfile("pair", profile, profile, 1e9)
    assert longest_gap(DisaggregatedPair(fast_link)) < 0.6 * longest_gap(Instance(profile))


def test_progress_is_known_at_every_stage(pair_profile: DisaggregatedProfile) -> None:
    pair = DisaggregatedPair(pair_profile)
    pair.submit(Request("a", 100, 5), 0.0)
    first_s = unloaded_s(pair_profile.prefill, 100, 1)
    seen = []
    for at in (0.0, first_s + 1e-6, first_s + 0.5 * pair_profile.transfer_s(100), 1.0):
        pair.advance(at)
        seen.append(pair.generated("a"))
    assert seen == [0, 1, 1, None]


def test_a_cache_that_arrives_at_a_dead_decoder_is_lost(pair_profile: DisaggregatedProfile) -> None:
    pair = DisaggregatedPair(pair_profile)
    first_s = unloaded_s(pair_profile.prefill, 100, 1)
    pair.decode.fail(first_s + 1e-4, first_s + 1.0)
    run = drive(pair, [Submit(0.0, Request("a", 100, 5))])
    assert run.failed["a"] == pytest.approx(first_s + pair_profile.transfer_s(100))
    assert "a" not in run.finished


def test_what_neither_half_can_hold_is_refused(pair_profile: DisaggregatedProfile) -> None:
    rejection = DisaggregatedPair(pair_profile).submit(Request("a", 990, 20), 0.0)
    assert rejection is not None
    assert rejection.reason == "context_length"


def test_a_profile_is_read_from_names_and_mappings() -> None:
    read = profile_from_mapping({"name": "p", "prefill": "llama3-8b-h100", "decode": "study-8b-a800", **LINK})
    assert isinstance(read, DisaggregatedProfile)
    assert (read.prefill.name, read.decode.name) == ("llama3-8b-h100", "study-8b-a800")
    with pytest.raises(ConfigError, match=r"profile\.decode"):
        profile_from_mapping({"name": "p", "prefill": "llama3-8b-h100", "decode": 3, **LINK})
    with pytest.raises(ConfigError, match="missing"):
        profile_from_mapping({"name": "p", "prefill": "llama3-8b-h100", **LINK})
