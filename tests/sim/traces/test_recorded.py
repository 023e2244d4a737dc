"""What recorded runs become when their gaps are closed."""

from typing import Any

import pytest

from agentsched.errors import ConfigError
from agentsched.sim.traces.recorded import RecordedRun, Recording, recording_of
from agentsched.telemetry.run_log import CallLog, RunLine, RunLog, SloEntry


def a_call(k: int, **fields: Any) -> CallLog:
    values = {"step": f"s{k}", "call_id": f"c{k}", "call_index": k, "input_tokens": 100, "output_tokens": 50, **fields}
    return CallLog("r", "w", **values)


def recorded(*calls: CallLog, **line: Any) -> Recording:
    return recording_of([RunLog("r", RunLine("r", "w", **line), list(calls))], source="here")


def the_run(*calls: CallLog, **line: Any) -> RecordedRun:
    return recorded(*calls, **line).runs[0]


def origins(run: RecordedRun) -> list[tuple[tuple[int, ...], float | None]]:
    return [
        (call.parents, None if call.wait_s is None else pytest.approx(call.wait_s))  # type: ignore[misc]
        for call in run.calls
    ]


def test_parents_and_tool_times_as_our_log_tells_them():
    run = the_run(
        a_call(0, start_s=0.2, tool_s=0.2, e2e_s=1.0, status="ok"),
        a_call(1, parents=("c0",), start_s=1.7, tool_s=0.5, e2e_s=2.0, status="ok"),
        a_call(2, parents=("c0",), start_s=1.3, tool_s=0.1, e2e_s=1.0, status="ok"),
        a_call(3, parents=("c1", "c2"), start_s=3.8, tool_s=0.1, e2e_s=1.0, status="ok"),
        arrival_s=1000.0,
        elapsed_s=5.3,
        outcome="ok",
        deadline_s=6.0,
    )
    assert origins(run) == [((), 0.2), ((0,), 0.5), ((0,), 0.1), ((1, 2), 0.1)]
    assert (run.arrival_s, run.deadline_s, run.met, run.complete) == (1000.0, 6.0, True, True)
    assert run.tail_s == pytest.approx(0.5)


def test_times_tell_parents_where_nothing_else_does():
    run = the_run(
        a_call(0, start_s=0.0, e2e_s=1.0),
        a_call(1, start_s=0.5, e2e_s=1.0),
        a_call(2, start_s=1.7, e2e_s=1.0),
        a_call(3, start_s=2.8, e2e_s=1.0),
    )
    assert origins(run) == [((), 0.0), ((), 0.5), ((1,), 0.2), ((2,), 0.1)]


def test_without_times_calls_follow_one_another():
    recording = recorded(a_call(0), a_call(1, tool_s=0.7), a_call(2))
    assert origins(recording.runs[0]) == [((), 0.0), ((0,), 0.7), ((1,), None)]
    assert recording.assumed == {"calls whose time after the one before is not recorded": 1}


def test_a_failed_call_that_was_repeated_is_left_out_with_its_time():
    recording = recorded(
        a_call(0, start_s=0.0, tool_s=0.0, e2e_s=1.0, status="ok"),
        a_call(1, parents=("c0",), start_s=1.5, tool_s=0.5, e2e_s=4.0, status="silent", output_tokens=0),
        a_call(2, parents=("c0",), start_s=5.6, tool_s=4.6, e2e_s=1.0, status="ok"),
        a_call(3, parents=("c1",), start_s=6.8, tool_s=0.2, e2e_s=1.0, status="ok"),
    )
    assert origins(recording.runs[0]) == [((), 0.0), ((0,), 0.6), ((0,), 0.2)]
    assert recording.assumed["failed calls that the run went on after: left out, with the time they took"] == 1


def test_what_was_left_out_is_left_out_again_wherever_it_stood():
    skipped = {"status": "skipped", "output_tokens": 0, "input_tokens": 0, "optional": ("critique#0",)}
    recording = recorded(
        a_call(0, step="plan", start_s=0.0, tool_s=0.0, e2e_s=1.0, status="ok"),
        a_call(1, step="critique", parents=("c0",), start_s=1.5, tool_s=0.5, e2e_s=0.0, **skipped),
        a_call(2, step="final", parents=("c0",), start_s=1.7, tool_s=0.7, e2e_s=1.0, status="ok"),
        a_call(3, step="polish", parents=("c2",), start_s=2.7, tool_s=0.0, e2e_s=0.0, **skipped),
        outcome="ok",
        elapsed_s=2.7,
    )
    assert origins(recording.runs[0]) == [((), 0.0), ((0,), 0.7)]
    assert recording.assumed == {"calls of optional steps that were left out: left out again": 2}


def test_optional_steps_that_were_done_may_be_left_out():
    run = the_run(a_call(0), a_call(1, optional=("critique#0", "deepen#1")))
    assert [call.optional for call in run.calls] == [(), ("critique#0", "deepen#1")]


def test_a_run_cut_in_its_last_call_is_made_again_as_far_as_it_came():
    recording = recorded(
        a_call(0, step="x", output_tokens=80, start_s=0.0, e2e_s=1.0, status="ok"),
        a_call(1, step="x", output_tokens=7, parents=("c0",), tool_s=0.1, start_s=1.1, e2e_s=3.0, status="deadline"),
        outcome="deadline",
        elapsed_s=4.1,
        deadline_s=4.1,
    )
    (run,) = recording.runs
    assert [call.output_tokens for call in run.calls] == [80, 80]
    assert (run.complete, run.met, run.tail_s) == (False, False, 0.0)
    assert any("cut" in text for text in recording.assumed)


def test_missing_tokens_are_the_median_of_the_step():
    recording = recorded(
        *(a_call(k, step="x", output_tokens=10 * (k + 1), input_tokens=100 + k) for k in range(3)),
        a_call(3, step="x", input_tokens=None, output_tokens=None),
        a_call(4, step="y", input_tokens=None, estimated_input_tokens=333),
    )
    calls = recording.runs[0].calls
    assert (calls[3].input_tokens, calls[3].output_tokens, calls[4].input_tokens) == (101, 20, 333)
    assert len(recording.assumed) == 4


def test_a_prompt_that_has_room_for_the_last_one_and_its_answer_continues_it():
    run = the_run(
        a_call(0, step="act", input_tokens=100, output_tokens=50),
        a_call(1, step="look", input_tokens=500),
        a_call(2, step="act", input_tokens=150),
        a_call(3, step="act", input_tokens=160),
    )
    assert [call.lineage for call in run.calls] == [0, 1, 0, 3]


def test_what_the_run_was_asked_to_achieve_comes_along():
    slo = SloEntry(deadline_s=9.0, max_cost_usd=0.5, priority=2.0)
    run = the_run(a_call(0, min_quality=0.4, max_tokens=64, stream=True, model="big"), slo=slo, tenant="acme")
    call = run.calls[0]
    assert (run.deadline_s, run.max_cost_usd, run.priority, run.tenant) == (9.0, 0.5, 2, "acme")
    assert (call.min_quality, call.max_tokens, call.stream, call.model) == (0.4, 64, True, "big")


def test_calls_need_the_quality_that_they_tell_else_the_run_s():
    run = the_run(a_call(0), a_call(1, min_quality=0.2), slo=SloEntry(min_quality=0.6))
    assert [call.min_quality for call in run.calls] == [0.6, 0.2]


def test_runs_of_which_nothing_was_answered_are_left_out():
    failed = RunLog("f", None, [a_call(0, status="server", output_tokens=0)])
    recording = recording_of([failed, RunLog("r", None, [a_call(0)])], source="here")
    assert len(recording.runs) == 1
    assert recording.assumed["runs without a call that was answered, left out"] == 1
    with pytest.raises(ConfigError, match="tells both"):
        recording_of([failed], source="here")


@pytest.mark.parametrize("name", ["input_tokens", "output_tokens"])
def test_tokens_that_no_call_has_are_told_with_their_call(name: str):
    with pytest.raises(ConfigError, match=rf"here: run r, call 1, {name}: out of range .*up to 1,000,000,000"):
        recorded(a_call(0), a_call(1, **{name: 10**15}))


@pytest.mark.parametrize(("deadline_s", "known"), [(0.0, None), (-1.0, None), (0.5, 0.5)])
def test_no_time_at_all_is_no_deadline(deadline_s: float, known: float | None):
    recording = recorded(a_call(0), deadline_s=deadline_s)
    assert recording.runs[0].deadline_s == known
    assert recording.assumed.get("deadlines of 0 and less: taken for none", 0) == (known is None)
