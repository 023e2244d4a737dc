"""Runs on virtual time: order, joins, tool times, deadlines, retries, what is left when something breaks."""

from dataclasses import replace
from itertools import pairwise

import pytest

from agentsched.core.call import FailureKind
from agentsched.core.records import CallEnded
from agentsched.scheduler.actions import Cancel, Fail, Record, Start
from agentsched.scheduler.events import AttemptFailed, AttemptFinished, CallArrived, RunEnded, StreamsProgressed
from agentsched.sim.ideal import unloaded_s
from tests.sim.conftest import FAST, a_call, a_run, play


def alone(scenario, call) -> float:
    return 0.02 + unloaded_s(scenario.endpoints[0].engine, call.input_tokens, call.output_tokens)


def test_a_single_call_takes_its_unloaded_time_and_the_network(small):
    scenario, call = small(), a_call(50, input_tokens=3000)
    result = play(scenario, [a_run(call, arrival_s=2.0)]).results[0]
    assert result.latency_s == pytest.approx(alone(scenario, call), rel=1e-12)
    assert (result.outcome, result.calls, result.attempts) == ("ok", 1, 1)
    assert (result.input_tokens, result.output_tokens) == (3000, 50)


def test_tool_time_passes_before_the_next_call_but_not_after_the_last(small):
    scenario = small()
    first, second = a_call(20, tool_s=1.5), a_call(30, parents=(0,), tool_s=7.0)
    played = play(scenario, [a_run(first, second)])
    assert played.results[0].latency_s == pytest.approx(
        alone(scenario, first) + 1.5 + alone(scenario, second), rel=1e-9
    )
    called = [event.call for event, _ in played.story.of(CallArrived)]
    assert [(call.parents, call.tool_s) for call in called] == [((), 0.0), (("r0.0",), 1.5)]


def test_a_join_waits_for_its_slowest_parent_and_that_one_s_tool(small):
    calls = [a_call(10), a_call(200, parents=(0,)), a_call(20, parents=(0,), tool_s=4.0), a_call(5, parents=(1, 2))]
    story = play(small(), [a_run(*calls)]).story
    arrived = {event.call.call_id: now for event, now in story.of(CallArrived)}
    ended = {event.attempt_id.rpartition(".")[0]: now for event, now in story.of(AttemptFinished)}
    assert arrived["r0.1"] == arrived["r0.2"] == ended["r0.0"]
    assert arrived["r0.3"] == pytest.approx(max(ended["r0.1"], ended["r0.2"] + 4.0))
    assert [now for _, now in story.of(RunEnded)] == [ended["r0.3"]]


def test_tokens_are_told_first_at_once_and_then_now_and_again(small):
    story = play(small(progress=0.5), [a_run(a_call(300))]).story
    told = [(tokens, now) for event, now in story.of(StreamsProgressed) for _, tokens in event.tokens]
    assert told[0][0] == 1
    gaps = [after[1] - before[1] for before, after in pairwise(told)]
    assert all(0.5 <= gap < 0.65 for gap in gaps)
    assert len(told) == pytest.approx(300 * 0.0102 / 0.63, abs=1)
    pace = (told[-1][1] - told[0][1]) / (told[-1][0] - 1)
    assert pace == pytest.approx(0.0101, rel=0.01)  # counted at whole steps: no rounding to the reporting interval


def test_whole_answers_show_nothing_before_their_end(small):
    story = play(small(stream=False), [a_run(a_call(300))]).story
    assert not list(story.of(StreamsProgressed))
    assert len(list(story.of(AttemptFinished))) == 1


DEADLINES = {"multiples": [{"times": 2, "share": 1}]}


def test_a_late_run_goes_on_unless_it_is_cut(small):
    run = a_run(a_call(500), deadline_s=1.0)
    assert play(small(), [run]).results[0].outcome == "late"
    played = play(small(deadlines={**DEADLINES, "on_late": "raise"}), [run])
    assert (played.results[0].outcome, played.results[0].ended_s) == ("deadline", 1.0)
    fails = [action for *_, actions in played.story.happened for action in actions if isinstance(action, Fail)]
    assert [fail.failure.kind for fail in fails] == [FailureKind.DEADLINE]


def test_a_run_is_cut_also_while_its_agent_works_itself(small):
    run = a_run(a_call(10, tool_s=5.0), a_call(10, parents=(0,)), deadline_s=2.0)
    played = play(small(deadlines={**DEADLINES, "on_late": "raise"}), [run])
    assert (played.results[0].outcome, played.results[0].ended_s, played.results[0].calls) == ("deadline", 2.0, 1)


def test_the_branches_of_a_cut_run_are_cancelled(small):
    calls = [a_call(10), a_call(900, parents=(0,)), a_call(900, parents=(0,)), a_call(900, parents=(0,))]
    played = play(small(deadlines={**DEADLINES, "on_late": "raise"}), [a_run(*calls, deadline_s=1.5)])
    cancels = [action for *_, actions in played.story.happened for action in actions if isinstance(action, Cancel)]
    assert len(cancels) == 3
    assert all(server.empty for server in played.simulation.servers.values())


FAILING = {"failure": {"duration": 0.5, "every": 3}}


def test_an_agent_asks_again_when_an_answer_breaks_off(small):
    one = [{"name": "fast", "profile": small().endpoints[0].profile}]
    runs = [a_run(a_call(100), index=k, arrival_s=3.0 * k) for k in range(30)]
    patient = play(small(endpoints=one, faults=FAILING, call_retries=20), runs)
    broken = [event for event, _ in patient.story.of(AttemptFailed)]
    assert {event.failure.kind for event in broken} >= {FailureKind.IN_BAND, FailureKind.SERVER}
    assert all(result.outcome == "ok" for result in patient.results)
    assert any(result.calls > 1 for result in patient.results)
    giving_up = play(small(endpoints=one, faults=FAILING, call_retries=0), runs)
    assert any(result.outcome == "error" for result in giving_up.results)
    assert all(result.calls == 1 for result in giving_up.results)


def test_slowdowns_slow_down(small):
    runs = [a_run(a_call(100), index=k, arrival_s=3.0 * k) for k in range(30)]
    slow = play(small(faults={"slowdown": {"factor": 4, "duration": 5, "every": 5}}), runs).results
    usual = play(small(), runs).results
    assert sum(one.latency_s for one in slow) > 1.3 * sum(one.latency_s for one in usual)


def test_a_growing_prompt_is_read_from_the_cache_where_its_beginning_was(small):
    scenario = small(endpoints=[{"name": "fast", "profile": small().endpoints[0].profile}])
    own = a_run(a_call(10, input_tokens=6400), a_call(10, input_tokens=7000, parents=(0,), lineage=0))
    other = a_run(a_call(10, input_tokens=6400), a_call(10, input_tokens=7000, parents=(0,)))
    story = play(scenario, [own]).story
    assert [event.usage.cached_input_tokens for event, _ in story.of(AttemptFinished)] == [0, 6400]
    story = play(scenario, [other]).story
    assert [event.usage.cached_input_tokens for event, _ in story.of(AttemptFinished)] == [0, 0]


def test_a_call_waits_for_the_agents_own_work_and_the_run_ends_after_its_tail(small):
    calls = (a_call(wait_s=0.7), a_call(wait_s=1.5, parents=(0,)))
    played = play(small(), [replace(a_run(*calls), tail_s=2.0)])
    first, second = (now for _, now in played.story.of(CallArrived))
    (_, first_ended), (_, last_ended) = played.story.of(AttemptFinished)
    assert first == pytest.approx(0.7)
    assert second == pytest.approx(first_ended + 1.5)
    assert played.results[0].ended_s == pytest.approx(last_ended + 2.0)


def test_a_run_that_is_cut_in_its_tail_ends_at_its_deadline(small):
    deadlines = {"multiples": [{"times": 2, "share": 1}], "on_late": "raise"}
    run = replace(a_run(a_call(), deadline_s=3.0), tail_s=5.0)
    result = play(small(deadlines=deadlines), [run]).results[0]
    assert (result.outcome, result.ended_s) == ("deadline", 3.0)


def test_what_a_call_says_of_itself_reaches_the_scheduler(small):
    run = replace(a_run(a_call(max_tokens=50, stream=False)), priority=2, tenant="acme")
    (event, _), *_ = play(small(), [run]).story.of(CallArrived)
    assert (event.call.max_tokens, event.call.stream, event.call.priority, event.call.tenant) == (50, False, 2, "acme")


def test_quality_is_the_mean_over_the_answered_calls(small):
    scenario = small(
        endpoints=[
            {"name": "poor", "profile": FAST, "quality": 0.2},
            {"name": "good", "profile": {**FAST, "step_base_s": 0.02}, "quality": 0.8},
        ]
    )
    chain = [a_call(min_quality=0.5), a_call(parents=(0,)), a_call(parents=(1,)), a_call(parents=(2,))]
    played = play(scenario, [a_run(*chain)])
    assert played.results[0].quality == pytest.approx((0.8 + 3 * 0.2) / 4)


def test_an_answer_that_broke_off_goes_on_elsewhere_where_the_scenario_allows_it(small):
    planned = [{"endpoints": ["fast"], "at": 3.0, "duration": 20.0}]
    ends = {}
    for continuation in (False, True):
        scenario = small(continuation=continuation, faults={"planned": planned}, call_retries=2)
        played = play(scenario, [a_run(a_call(400))])
        (result,) = played.results
        assert result.outcome == "ok"
        ends[continuation] = result.ended_s
        sent = {a.call_id for _, _, actions in played.story.happened for a in actions if isinstance(a, Start)}
        assert sent == ({"r0.0"} if continuation else {"r0.0", "r0.0+1"})
    # 3 s at 10 ms a token are about 290 tokens, of which those of the last 0.5 s were not told yet; the slow endpoint
    # needs 20 ms for each of the others, or for all.
    assert 3.0 + 110 * 0.02 <= ends[True] <= 3.0 + 170 * 0.02
    assert ends[False] == pytest.approx(3.0 + 400 * 0.02, rel=0.1)


def test_what_goes_on_is_counted_once(small):
    planned = [{"endpoints": ["fast"], "at": 3.0, "duration": 20.0}]
    played = play(small(continuation=True, faults={"planned": planned}), [a_run(a_call(400, input_tokens=500))])
    (ended,) = [
        action.record
        for _, _, actions in played.story.happened
        for action in actions
        if isinstance(action, Record) and isinstance(action.record, CallEnded)
    ]
    assert (ended.input_tokens, ended.output_tokens, ended.attempts) == (500, 400, 2)
