"""The continuous-batching instance: what must hold for every load, and what each mechanism does."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsched.engine import HardwareProfile, Instance, Request
from tests.engine.driving import Abort, Submit, drive
from tests.engine.reference import reference_times

TIGHT = HardwareProfile(  # crooked figures: no arrival shall coincide with the end of a step but for rounding
    name="tight",
    step_base_s=0.010_123_457,
    step_per_sequence_s=0.001_007_313,
    step_per_kv_token_s=2.017e-5,
    prefill_tokens_per_s=3_011.7,
    prefill_hidden_s=0.004,
    prefill_attention_s=1e-6,
    max_slots=3,
    kv_tokens=160,
    prefill_chunk_tokens=32,
    block_tokens=8,
)
DELAYED = replace(TIGHT, frontend_s=0.0307)


@st.composite
def loads(draw: st.DrawFn) -> list[tuple[float, Request]]:
    """Some requests with small instants, sizes and priorities; shared prompts now and then."""
    count = draw(st.integers(1, 12))
    arrivals = []
    for index in range(count):
        prompt, output = draw(st.integers(1, 100)), draw(st.integers(1, 70))
        family = draw(st.integers(0, 2))
        blocks = tuple(1000 * family + block for block in range((prompt + output) // TIGHT.block_tokens))
        split = prompt // TIGHT.block_tokens
        # Never at the same instant: those are taken as they are submitted, whatever their priority.
        at = draw(st.integers(0, 2000)) / 1000 + index * 1e-6
        priority = draw(st.integers(-1, 1))
        arrivals.append((at, Request(f"r{index}", prompt, output, priority, blocks[:split], blocks[split:])))
    return arrivals


@given(
    loads(),
    st.lists(st.tuples(st.floats(0, 4, allow_nan=False), st.integers(0, 11)), max_size=5),
    st.one_of(st.none(), st.floats(0.01, 3)),
    st.sampled_from([TIGHT, DELAYED]),
)
@settings(max_examples=150, deadline=None)
def test_every_request_ends_exactly_once_and_no_limit_is_exceeded(
    arrivals: list[tuple[float, Request]],
    aborts: list[tuple[float, int]],
    outage_s: float | None,
    profile: HardwareProfile,
) -> None:
    instance = Instance(profile)
    if outage_s is not None:
        instance.fail(outage_s, outage_s + 0.2)
    operations = [Submit(at, request) for at, request in arrivals]
    aborting = [Abort(at, f"r{index}") for at, index in aborts]
    run = drive(instance, [*operations, *aborting], check=instance.check_invariants)

    for _, request in arrivals:
        name = request.request_id
        ends = [name in book for book in (run.finished, run.aborted, run.failed, run.rejected)]
        assert ends.count(True) == 1, (name, ends)
        times = run.token_times[name]
        assert len(times) <= request.output_tokens
        assert (len(times) == request.output_tokens) == (name in run.finished)
        assert all(earlier < later for earlier, later in pairwise(times))
    load = instance.load()
    assert (load.running, load.waiting, load.kv_used_tokens) == (0, 0, 0)
    assert load.cached_tokens <= TIGHT.prefix_cache_share * TIGHT.kv_tokens
    assert instance.next_event_at() is None


@given(
    loads(),
    st.one_of(st.none(), st.tuples(st.floats(0.5, 4), st.floats(0, 1), st.floats(0.05, 1))),
    st.sampled_from([TIGHT, DELAYED]),
)
@settings(max_examples=150, deadline=None)
def test_skipping_stepping_and_the_naive_model_agree(
    arrivals: list[tuple[float, Request]], slow: tuple[float, float, float] | None, profile: HardwareProfile
) -> None:
    """The same tokens at the same instants however the run is cut, and as a naive second implementation has them."""
    slowdown = (slow[0], slow[1], slow[1] + slow[2]) if slow is not None else None
    plain = [(at, replace(request, prompt_chain=(), output_chain=())) for at, request in arrivals]
    plain = [(at, request) for at, request in plain if request.prompt_tokens + request.output_tokens <= TIGHT.kv_tokens]
    runs = []
    for stops, skip in (("events", True), ("steps", True), ("steps", False)):
        instance = Instance(profile, skip=skip)
        if slowdown is not None:
            instance.slow_down(*slowdown)
        runs.append(drive(instance, [Submit(at, request) for at, request in plain], stops=stops))  # type: ignore[arg-type]
    expected = reference_times(profile, plain, slowdown)
    for name, times in expected.items():
        assert runs[0].token_times[name] == runs[1].token_times[name]
        np.testing.assert_allclose(runs[0].token_times[name], times, rtol=0, atol=1e-9)
        np.testing.assert_allclose(runs[2].token_times[name], times, rtol=0, atol=1e-9)
    assert runs[0].finished.keys() == expected.keys()


@given(loads())
@settings(max_examples=40, deadline=None)
def test_milestones_are_the_same_without_detail(arrivals: list[tuple[float, Request]]) -> None:
    operations = [Submit(at, request) for at, request in arrivals]
    full = drive(Instance(TIGHT), operations)
    brief = drive(Instance(TIGHT, detail=False), operations, stops="events")
    assert brief.finished == full.finished
    assert {name: times[0] for name, times in brief.token_times.items()} == {
        name: times[0] for name, times in full.token_times.items() if times
    }
    assert brief.cached == full.cached


def test_one_request_takes_its_prefill_chunks_and_then_one_step_per_token(profile: HardwareProfile) -> None:
    run = drive(Instance(profile), [Submit(0.0, Request("a", 250, 3))])
    chunk_s = profile.step_base_s + 100 / profile.prefill_tokens_per_s
    last_s = profile.step_base_s + 50 / profile.prefill_tokens_per_s
    first = 2 * chunk_s + last_s
    second = first + 0.010 + 0.001 + 251e-6
    assert run.token_times["a"] == pytest.approx([first, second, second + 0.010 + 0.001 + 252e-6])


def test_tpot_grows_with_the_batch(profile: HardwareProfile) -> None:
    def tpot_s(batch: int) -> float:
        run = drive(Instance(profile), [Submit(0.0, Request(f"r{index}", 20, 40)) for index in range(batch)])
        times = run.token_times["r0"]
        return (times[-1] - times[0]) / 39

    tpots = [tpot_s(batch) for batch in (1, 2, 4)]
    assert tpots[0] < tpots[1] < tpots[2]
    assert tpots[2] - tpots[0] == pytest.approx(3 * profile.step_per_sequence_s, rel=0.25)


def test_a_cached_prefix_shortens_the_time_to_first_token(instance: Instance) -> None:
    chain = tuple(range(20))
    operations = [Submit(0.0, Request("cold", 200, 5, 0, chain)), Submit(1.0, Request("warm", 200, 5, 0, chain))]
    run = drive(instance, operations)
    # The last prompt token is computed even if everything is cached.
    assert (run.cached["cold"], run.cached["warm"]) == (0, 199)
    assert run.ttft_s("warm") - 1.0 < 0.5 * run.ttft_s("cold")
    assert instance.load().prefix_hit_tokens == 199


def test_output_is_found_in_the_cache_by_the_next_turn(instance: Instance) -> None:
    first = Request("turn 1", 50, 30, 0, (1, 2, 3, 4, 5), (6, 7, 8))
    run = drive(instance, [Submit(0.0, first), Submit(1.0, Request("turn 2", 100, 5, 0, tuple(range(1, 11))))])
    assert run.cached["turn 2"] == 80


def test_running_requests_squeeze_the_cache(profile: HardwareProfile) -> None:
    """Memory that running requests need is taken from the cache, least recently used blocks first."""
    instance = Instance(profile)
    old, big = Request("old", 300, 2, 0, tuple(range(30))), Request("big", 850, 2)
    run = drive(instance, [Submit(0.0, old), Submit(1.0, big), Submit(2.0, replace(old, request_id="again"))])
    assert 0 < run.cached["again"] <= 150


@pytest.mark.parametrize(("scheduling", "first"), [("lower_first", "low"), ("higher_first", "high"), ("fcfs", "low")])
def test_priority_decides_who_leaves_the_queue_first(profile: HardwareProfile, scheduling: str, first: str) -> None:
    one_slot = replace(profile, max_slots=1)
    instance = Instance(one_slot, scheduling=scheduling)  # type: ignore[arg-type]
    run = drive(
        instance,
        [
            Submit(0.0, Request("running", 10, 20)),
            Submit(0.01, Request("low", 10, 5, priority=-1)),
            Submit(0.02, Request("high", 10, 5, priority=1)),
        ],
    )
    assert min(("low", "high"), key=run.ttft_s) == first


def test_fcfs_ignores_priority(profile: HardwareProfile) -> None:
    instance = Instance(replace(profile, max_slots=1), scheduling="fcfs")
    requests = [Request(name, 10, 5, priority) for name, priority in (("a", 5), ("b", 0), ("c", -5))]
    run = drive(instance, [Submit(0.001 * index, request) for index, request in enumerate(requests)])
    assert sorted("abc", key=run.ttft_s) == ["a", "b", "c"]


def test_abort_frees_slot_and_memory_at_once(profile: HardwareProfile) -> None:
    instance = Instance(replace(profile, max_slots=1))
    instance.submit(Request("hog", 900, 50), 0.0)
    instance.submit(Request("next", 100, 5), 0.001)
    assert instance.load().waiting == 1
    assert instance.abort("hog", 0.002)
    assert instance.load().kv_used_tokens == 0
    assert not instance.abort("hog", 0.002)
    step_end = instance.next_step_at()
    assert step_end is not None
    instance.advance(step_end)
    load = instance.load()
    assert (load.running, load.waiting) == (1, 0), "the waiting request enters with the next step"


def test_aborting_the_blocked_head_lets_the_others_in(profile: HardwareProfile) -> None:
    instance = Instance(profile)
    instance.submit(Request("running", 500, 400), 0.0)
    instance.submit(Request("too big for now", 600, 10), 0.01)
    instance.submit(Request("small", 50, 10), 0.02)
    instance.advance(1.0)
    assert instance.load().waiting == 2, "nobody overtakes the head"
    instance.abort("too big for now", 1.0)
    instance.advance(1.1)
    assert instance.load().running == 2


def test_full_memory_preempts_the_least_urgent_which_then_completes(profile: HardwareProfile) -> None:
    instance = Instance(profile)
    operations = [Submit(0.0, Request("urgent", 300, 400, -1)), Submit(0.0, Request("patient", 300, 300, 1))]
    run = drive(instance, operations, check=instance.check_invariants)
    assert set(run.preempted) == {"patient"}
    assert len(run.token_times["patient"]) == 300
    assert run.finished["patient"] > run.finished["urgent"]
    assert instance.load().preemptions == len(run.preempted)


def test_a_slowdown_stretches_the_steps_that_start_in_it(profile: HardwareProfile) -> None:
    flat = replace(profile, step_per_kv_token_s=0.0)
    instance = Instance(flat)
    instance.slow_down(3.0, 0.5, 1.0)
    run = drive(instance, [Submit(0.0, Request("a", 10, 100))])
    gaps = np.diff(run.token_times["a"])
    starts = np.asarray(run.token_times["a"][:-1])
    slow = (starts >= 0.5) & (starts < 1.0)
    assert gaps[slow] == pytest.approx(0.033)
    assert gaps[~slow] == pytest.approx(0.011)
    assert slow.any()


def test_a_slowdown_announced_in_the_middle_of_a_run_acts_from_the_next_step(profile: HardwareProfile) -> None:
    instance = Instance(replace(profile, step_per_kv_token_s=0.0))
    instance.submit(Request("a", 10, 100), 0.0)
    instance.advance(0.505)
    instance.slow_down(2.0, 0.505, 10.0)
    in_progress = instance.next_step_at()
    assert in_progress is not None
    instance.advance(in_progress)
    following = instance.next_step_at()
    assert following is not None
    assert following - in_progress == pytest.approx(0.022)


def test_an_outage_loses_requests_and_cache_and_refuses_until_it_is_over(instance: Instance) -> None:
    chain = tuple(range(10))
    instance.fail(0.5, 1.5)
    operations = [
        Submit(0.0, Request("before", 100, 500, 0, chain)),
        Submit(1.0, Request("during", 100, 5, 0, chain)),
        Submit(2.0, Request("after", 100, 5, 0, chain)),
    ]
    run = drive(instance, operations)
    assert run.failed == {"before": 0.5}
    assert run.rejected["during"].reason == "unavailable"
    assert run.rejected["during"].retry_after_s == pytest.approx(0.5)
    assert run.cached["after"] == 0
    assert "after" in run.finished


def test_what_cannot_fit_and_what_the_queue_has_no_room_for_is_refused(profile: HardwareProfile) -> None:
    instance = Instance(replace(profile, max_slots=1), max_waiting=1)
    refusal = instance.submit(Request("giant", 900, 200), 0.0)
    assert refusal is not None
    assert refusal.reason == "context_length"
    for index in range(2):
        assert instance.submit(Request(f"r{index}", 10, 10), 0.0) is None
    refusal = instance.submit(Request("r2", 10, 10), 0.0)
    assert refusal is not None
    assert refusal.reason == "queue_full"


def test_simultaneous_arrivals_share_the_first_step(instance: Instance) -> None:
    run = drive(instance, [Submit(0.0, Request(f"r{index}", 20, 2)) for index in range(4)])
    assert len({run.ttft_s(f"r{index}") for index in range(4)}) == 1


def test_time_must_not_go_back_and_ids_must_be_free(instance: Instance) -> None:
    instance.submit(Request("a", 10, 10), 1.0)
    with pytest.raises(ValueError, match="in use"):
        instance.submit(Request("a", 10, 10), 1.0)
    with pytest.raises(ValueError, match="went back"):
        instance.advance(0.5)
    with pytest.raises(ValueError, match="at least 1"):
        Request("b", 0, 1)


def test_generated_tells_the_progress_between_events(instance: Instance) -> None:
    instance.submit(Request("a", 10, 50), 0.0)
    instance.advance(0.2)
    halfway = instance.generated("a")
    assert halfway is not None
    assert 10 < halfway < 50
    assert instance.generated("nobody") is None


def test_repr_shows_the_load(instance: Instance) -> None:
    instance.submit(Request("a", 10, 50), 0.0)
    assert repr(instance) == "Instance('small', running=1, waiting=0, kv=10/1000)"
