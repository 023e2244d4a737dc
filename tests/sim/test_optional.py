"""Optional stages: simulated agents leave them out where the scheduler says so, and go on behind them."""

from dataclasses import replace

import pytest

from agentsched.core.records import CallEnded
from agentsched.errors import ConfigError
from agentsched.policy.deadline_aware import DeadlineAware
from agentsched.scheduler.actions import Record
from agentsched.scheduler.events import CallArrived
from agentsched.sim.averages import averages_of
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.rests import last_calls
from agentsched.sim.simulation import Setup, simulate
from agentsched.sim.workflows import WorkflowDrawer
from tests.sim.conftest import a_call, a_run, play

VISIT = ("critique#1",)
CHAIN = [
    a_call(50, step="plan", tool_s=0.1),
    a_call(300, step="critique", parents=(0,), tool_s=0.2, optional=VISIT),
    a_call(300, step="critique", parents=(1,), tool_s=0.2, optional=VISIT),
    a_call(50, step="final", parents=(2,)),
]
"""About .5 s, twice 3 s and .2 s of tools, and .5 s again."""

FAN = [
    a_call(50, step="plan"),
    *(a_call(300, step="critique", parents=(0,), optional=VISIT) for _ in range(3)),
    a_call(50, step="final", parents=(1, 2, 3)),
]


def played(small, calls, deadline_s, **keys):
    run = replace(a_run(*calls), deadline_s=deadline_s)
    return play(small(**keys), [run], knowledge=Knowledge.ORACLE)


def statuses(story):
    ended = [
        action.record
        for *_, actions in story.happened
        for action in actions
        if isinstance(action, Record) and isinstance(action.record, CallEnded)
    ]
    return [(record.call.step, record.status) for record in ended]


@pytest.mark.parametrize("calls", [CHAIN, FAN], ids=["chain", "fan"])
def test_what_is_left_out_makes_the_run_be_in_time(small, calls):
    done = played(small, calls, 60.0)
    assert (done.results[0].outcome, done.results[0].skipped) == ("ok", 0)
    left = played(small, calls, 2.0)
    result = left.results[0]
    assert (result.outcome, result.skipped) == ("ok", 1)
    assert result.latency_s < 1.5
    steps = statuses(left.story)
    assert (steps[0], steps[-1]) == (("plan", "ok"), ("final", "ok"))
    assert {status for step, status in steps if step == "critique"} == {"skipped"}


def test_the_tools_of_what_is_left_out_are_not_used(small):
    story = played(small, CHAIN, 2.0).story
    arrived = {event.call.step: now for event, now in story.of(CallArrived)}
    assert arrived["final"] == arrived["critique"], "the agent goes on at once"


def test_calls_behind_it_in_the_same_stage_are_not_even_asked_for(small):
    story = played(small, CHAIN, 2.0).story
    assert [event.call.step for event, _ in story.of(CallArrived)] == ["plan", "critique", "final"]


def test_a_run_whose_last_stage_is_left_out_ends_there(small):
    result = played(small, CHAIN[:3], 1.5).results[0]
    assert (result.outcome, result.skipped) == ("ok", 1)
    assert result.latency_s < 1.0


def test_of_steps_inside_steps_only_what_is_left_is_not_made(small):
    """What the inner one takes makes the run late; the rest of the outer one is done."""
    outer, inner = "critique#0", "deepen#1"
    nested = [
        a_call(300, step="deepen", optional=(outer, inner)),
        a_call(300, step="deepen", parents=(0,), optional=(outer, inner)),
        a_call(20, step="critique", parents=(1,), optional=(outer,)),
        a_call(20, step="final", parents=(2,)),
    ]
    done = played(small, nested, 3.0)
    assert (done.results[0].outcome, done.results[0].skipped) == ("ok", 1)
    assert statuses(done.story) == [("deepen", "skipped"), ("critique", "ok"), ("final", "ok")]


def test_a_run_may_begin_with_what_is_left_out(small):
    first = [a_call(300, step="critique", optional=VISIT), a_call(50, step="final", parents=(0,))]
    story = played(small, first, 1.5).story
    assert [event.call.step for event, _ in story.of(CallArrived)] == ["critique", "final"]
    assert statuses(story) == [("critique", "skipped"), ("final", "ok")]


def test_a_scenario_may_forbid_it(small):
    result = played(small, CHAIN, 2.0, skip={"min_gain": 1}).results[0]
    assert (result.outcome, result.skipped) == ("late", 0)
    with pytest.raises(ConfigError, match="min_gain"):
        small(skip={"min_gain": 2})


STAGES = [
    {"step": "plan", "prompt": 400, "output": {"median": 40, "sigma": 0.3}},
    {
        "step": "critique",
        "prompt": 400,
        "output": {"median": 150, "sigma": 0.3},
        "loop": {"mean": 2, "most": 3},
        "optional": True,
    },
    {"step": "final", "prompt": 400, "output": {"median": 40, "sigma": 0.3}},
]
WORKFLOWS = [{"name": "chain", "share": 1.0, "stages": STAGES}]
DEADLINES = {"multiples": [{"times": 1.1, "share": 1}], "plus": 0.0}


def test_a_stage_is_one_visit_whatever_it_repeats(small):
    drawn = WorkflowDrawer(small(workflows=WORKFLOWS), 1).draw()
    visits = [call.optional for call in drawn.calls]
    assert visits == [(), *[("critique#1",)] * (len(visits) - 2), ()]
    assert last_calls(drawn.calls) == {"critique#1": len(visits) - 2}


def test_what_follows_a_stage_is_known_from_the_averages(small):
    averages = averages_of(small(workflows=WORKFLOWS))
    left = averages.left["chain", "critique"]
    assert set(left.calls) == {1.0}
    assert averages.rests["chain", "critique"].calls.mean() > 1.2
    assert averages_of(small()).left == {}


@pytest.mark.parametrize("knowledge", [Knowledge.STUDY, Knowledge.LEARNED, Knowledge.ORACLE])
def test_more_runs_are_in_time_with_it_whatever_is_known(small, knowledge):
    def in_time(min_gain: float) -> tuple[int, int]:
        scenario = small(workflows=WORKFLOWS, deadlines=DEADLINES, load=4.0, duration=60.0, skip={"min_gain": min_gain})
        outcome = simulate(scenario, DeadlineAware, Setup(seed=31, knowledge=knowledge))
        return sum(run.met for run in outcome.counted), sum(run.skipped for run in outcome.counted)

    kept, none = in_time(1.0)
    met, skipped = in_time(0.35)
    assert none == 0
    assert skipped > 0
    assert met > kept
