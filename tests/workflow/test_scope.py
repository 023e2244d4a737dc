import os
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.core.decision import Decision
from agentsched.core.forecast import QuantileForecast
from agentsched.core.slo import SLO, Budget, Deadline
from agentsched.errors import DeadlineExceeded
from agentsched.workflow.frame import Frame, FrameChange, enter_frame, leave_frame
from agentsched.workflow.inner import InnerScope, limit_around
from agentsched.workflow.scope import (
    LEFTOVER_S,
    MAX_DECISIONS,
    Run,
    abandoned_run,
    current_run,
    deadline_error,
    effective_deadline,
)

Clock = Any  # tests/conftest.py: VirtualClock


@contextmanager
def inside(run: Run) -> Iterator[Run]:
    token = enter_frame(Frame(run=run))
    yield run
    leave_frame(token)


def decision(p_meet: float | None) -> Decision:
    return Decision(
        call_id="c",
        run_id="r",
        attempt_id="a",
        step="plan",
        at=0.0,
        endpoint="e",
        why="first",
        policy="p",
        slack_s=1.0,
        p_meet=p_meet,
        ttft_s=0.1,
        e2e_s=0.2,
        e2e_p95_s=0.3,
        output_tokens=10.0,
        score=0.0,
        waited_s=0.0,
        rivals=(),
    )


class TestDeadline:
    def test_a_run_is_due_after_its_slo(self, clock: Clock) -> None:
        run = Run("answer", SLO("20s"))
        assert (run.deadline, run.enforced, run.limit_at, run.deadline_s) == (Deadline(1020.0), True, 1020.0, 20.0)
        clock.advance(5.0)
        assert (run.elapsed(), run.remaining()) == (5.0, 15.0)
        clock.advance(16.0)
        assert run.remaining() == -1.0

    def test_a_run_without_deadline_has_none(self, clock: Clock) -> None:
        run = Run("answer", SLO())
        assert (run.deadline, run.enforced, run.limit_at, run.deadline_s) == (None, False, None, None)
        assert run.remaining() is None
        assert effective_deadline(run, "plan", clock()) is None

    def test_a_run_inside_another_ends_with_it(self, clock: Clock) -> None:
        run = Run("tool", SLO("20s"), outer_at=1008.0)
        assert (run.limit_at, run.deadline_s) == (1008.0, 8.0)
        assert Run("tool", SLO("5s"), outer_at=1008.0).limit_at == 1005.0
        assert Run("tool", SLO(), outer_at=1008.0).limit_at == 1008.0

    def test_an_ignored_deadline_is_known_but_does_not_cut(self, clock: Clock) -> None:
        run = Run("answer", SLO("20s", on_late="ignore"))
        assert (run.deadline, run.enforced, run.limit_at, run.deadline_s) == (Deadline(1020.0), False, None, 20.0)
        assert run.remaining() == 20.0
        assert effective_deadline(run, None, clock()) is None

    def test_an_ignored_deadline_does_not_lift_the_one_around_it(self, clock: Clock) -> None:
        run = Run("tool", SLO("5s", on_late="ignore"), outer_at=1008.0)
        assert (run.deadline, run.enforced, run.limit_at) == (Deadline(1008.0), True, 1008.0)
        clock.advance(6.0)
        assert run.is_late()

    @pytest.mark.parametrize(("elapsed", "late"), [(19.9, False), (20.0, False), (20.1, True)])
    def test_late_is_after_the_deadline(self, clock: Clock, elapsed: float, late: bool) -> None:
        run = Run("answer", SLO("20s"))
        clock.advance(elapsed)
        assert run.is_late() is late

    def test_ids_are_unique(self) -> None:
        assert len({Run("answer", SLO()).run_id for _ in range(100)}) == 100

    def test_no_id_says_429(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Frameworks repeat a call whose error has that in its text, and the text of a deadline error has the id."""
        drawn = iter([bytes.fromhex("0004290000000000"), bytes.fromhex("00000000000000ff")])
        monkeypatch.setattr(os, "urandom", lambda size: next(drawn))
        assert Run("answer", SLO()).run_id == "00000000000000ff"

    def test_repr_says_who_and_how_far(self, clock: Clock) -> None:
        run = Run("answer", SLO("20s"))
        clock.advance(1.5)
        run.next_call_index()
        assert repr(run) == f"<Run {run.run_id} 'answer' running, 1.50 of 20.00 s, 1 calls>"
        run.finish("ok")
        assert " ok, " in repr(run)
        assert "no deadline" in repr(Run("answer", SLO()))


class TestInnerScopes:
    @given(
        run_s=st.one_of(st.none(), st.floats(0.1, 100)),
        scopes=st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.1, 100)), max_size=6),
    )
    def test_nested_scopes_take_the_minimum(self, run_s: float | None, scopes: list[tuple[float, float]]) -> None:
        now = [1000.0]
        run = Run("answer", SLO(run_s), clock=lambda: now[0])

        def check(expected: float | None) -> None:
            assert limit_around(run) == effective_deadline(run, None, now[0]) == expected
            assert run.remaining() == (None if expected is None else expected - now[0])

        def nest(expected: float | None, inner: list[tuple[float, float]]) -> None:
            check(expected)
            if inner:
                delay, duration = inner[0]
                now[0] += delay
                end = now[0] + duration
                with FrameChange("inner", InnerScope(run, duration)):
                    nest(end if expected is None else min(expected, end), inner[1:])
                check(expected)

        with inside(run):
            nest(None if run_s is None else 1000.0 + run_s, scopes)

    def test_a_scope_bounds_only_the_run_it_was_opened_in(self, clock: Clock) -> None:
        outer, other = Run("outer", SLO("20s")), Run("other", SLO("20s"))
        with inside(outer), FrameChange("inner", InnerScope(outer, 5.0)):
            assert limit_around(outer) == 1005.0
            assert limit_around(other) == 1020.0


class TestReserve:
    def run(self) -> Run:
        return Run("answer", SLO("20s", reserve={"review": "2s", "final": "3s"}))

    def test_time_is_kept_from_the_other_steps(self, clock: Clock) -> None:
        assert effective_deadline(self.run(), "plan", clock()) == 1015.0
        assert effective_deadline(self.run(), None, clock()) == 1015.0

    def test_but_not_from_the_step_it_is_for(self, clock: Clock) -> None:
        assert effective_deadline(self.run(), "final", clock()) == 1018.0

    def test_a_step_that_has_begun_needs_no_reserve_any_more(self, clock: Clock) -> None:
        run = self.run()
        effective_deadline(run, "review", clock())
        clock.advance(1.0)
        assert effective_deadline(run, "plan", clock()) == 1017.0
        assert effective_deadline(run, "final", clock()) == 1020.0
        assert effective_deadline(run, "plan", clock()) == 1020.0
        assert dict(run.begun) == {"review": 1000.0, "plan": 1001.0, "final": 1001.0}

    def test_a_scope_inside_one_step_owes_nothing_to_the_later_ones(self, clock: Clock) -> None:
        run = self.run()
        with inside(run), FrameChange("inner", InnerScope(run, 4.0)):
            assert effective_deadline(run, "plan", clock()) == 1004.0
        with inside(run), FrameChange("inner", InnerScope(run, 17.0)):
            assert effective_deadline(run, "plan", clock()) == 1015.0


class TestErrors:
    def test_the_error_tells_what_was_spent(self, clock: Clock) -> None:
        run = Run("answer", SLO("2s"))
        for number, (step, seconds) in enumerate((("plan", 0.5), ("write", 1.25), ("plan", 0.25))):
            run.open_call(number, step, clock())
            clock.advance(seconds)
            run.close_call(number)
        clock.advance(0.25)
        with inside(run), FrameChange("step", "write"):
            error = deadline_error(run, clock())
        assert (error.run_id, error.workflow, error.step) == (run.run_id, "answer", "write")
        assert (error.deadline_s, error.elapsed_s) == (2.0, 2.25)
        assert error.spent_s == (("write", 1.25), ("plan", 0.75))
        assert run.error is error
        assert deadline_error(run, clock() + 1) is error
        assert pickle.loads(pickle.dumps(error)).spent_s == error.spent_s

    def test_it_counts_the_call_that_it_ends(self, clock: Clock) -> None:
        outer = Run("answer", SLO("2s"))
        run = Run("search", SLO(), parent=outer)
        run.open_call(0, "plan", clock())
        clock.advance(0.25)
        run.close_call(0)
        clock.advance(0.25)
        run.open_call(1, "write", clock())
        run.open_call(2, None, clock())
        clock.advance(1.0)
        assert run.spent_s == (("write", 1.0), ("(unnamed)", 1.0), ("plan", 0.25))
        assert outer.spent_s == (("search", 1.25),)
        run.close_call(1)
        clock.advance(0.5)
        run.close_call(2)
        clock.advance(9.0)
        run.close_call(1)
        assert run.spent_s == (("(unnamed)", 1.5), ("write", 1.0), ("plan", 0.25))
        assert outer.spent_s == (("search", 1.75),)

    def test_calls_side_by_side_spend_their_time_once(self, clock: Clock) -> None:
        run = Run("answer", SLO("2s"))
        for number in range(4):
            run.open_call(number, "research", clock())
            clock.advance(0.125)
        clock.advance(0.25)
        assert run.spent_s == (("research", 0.75),)
        for number in (2, 0, 3, 1):
            run.close_call(number)
            clock.advance(0.25)
        assert run.spent_s == (("research", 1.5),)
        run.open_call(4, "research", clock())
        clock.advance(1.0)
        assert "longest: research 2.50 s" in str(run.remember_error(clock()))

    def test_it_names_the_last_step_reached_where_the_present_one_is_unknown(self, clock: Clock) -> None:
        run = Run("answer", SLO("2s"))
        effective_deadline(run, "plan", clock())
        effective_deadline(run, "write", clock())
        assert deadline_error(run, clock()).step == "write"

    def test_the_scope_that_ended_is_named_and_only_it_remembers(self, clock: Clock) -> None:
        run = Run("answer", SLO("20s"))
        scope = InnerScope(run, 5.0)
        with inside(run), FrameChange("inner", scope):
            clock.advance(5.0)
            error = deadline_error(run, clock())
        assert (error.deadline_s, error.elapsed_s) == (5.0, 5.0)
        assert (scope.error, run.error) == (error, None)

    def test_every_scope_whose_time_is_spent_remembers(self, clock: Clock) -> None:
        parent = Run("answer", SLO("4s"))
        outer = InnerScope(parent, 3.0)
        with inside(parent), FrameChange("inner", outer):
            child = Run("tool", SLO("10s"), parent=parent, outer_at=limit_around(parent))
            inner = InnerScope(parent, 30.0)
            token = enter_frame(Frame(run=child, inner=inner))
            clock.advance(3.5)
            assert deadline_error(child, clock()) is child.error
            assert parent.error is None
            clock.advance(1.0)
            deadline_error(child, clock())
            leave_frame(token)
        assert [scope.error.deadline_s for scope in (child, inner, outer, parent) if scope.error] == [
            3.0,
            3.0,
            3.0,
            4.0,
        ]

    def test_a_run_cut_by_a_reserve_may_go_on_and_says_so(self, clock: Clock) -> None:
        run = Run("answer", SLO("20s", reserve={"final": "5s"}))
        run.next_call_index()
        clock.advance(16.0)
        error = deadline_error(run, clock())
        assert run.error is error
        assert not run.went_on
        run.next_call_index()
        assert run.went_on
        clock.advance(4.0)
        assert not run.went_on


class TestCurrentRun:
    def test_there_is_none_outside(self) -> None:
        assert current_run() is None

    def test_a_finished_run_is_not_current_but_the_one_around_it_is(self) -> None:
        parent = Run("answer", SLO())
        child = Run("tool", SLO(), parent=parent)
        with inside(child):
            assert current_run() is child
            child.finish("ok")
            assert current_run() is parent
            parent.finish("ok")
            assert current_run() is None

    @pytest.mark.parametrize("outcome", ["deadline", "cancelled"])
    def test_code_that_a_run_left_behind_when_it_ended_early_is_known_for_a_while(
        self, clock: Clock, outcome: str
    ) -> None:
        parent = Run("answer", SLO())
        child = Run("tool", SLO(), parent=parent)
        with inside(child):
            assert abandoned_run() is None
            child.finish(outcome)
            assert abandoned_run() is None, "it is inside the outer run"
            parent.finish("ok")
            assert abandoned_run() is child
            clock.advance(LEFTOVER_S + 0.1)
            assert abandoned_run() is None, "a worker that happened to be started there"
        assert abandoned_run() is None

    @pytest.mark.parametrize("outcome", ["ok", "late", "error"])
    def test_other_runs_leave_nothing_behind(self, outcome: str) -> None:
        run = Run("answer", SLO())
        run.finish(outcome)
        with inside(run):
            assert abandoned_run() is None


class TestBooks:
    def test_a_run_inside_another_costs_both(self) -> None:
        parent = Run("answer", SLO(max_cost_usd=1.0))
        child = Run("tool", SLO(max_cost_usd=0.5), parent=parent)
        child.charge(0.125)
        parent.charge(0.75)
        assert (child.cost_usd, parent.cost_usd) == (0.125, 0.875)
        assert parent.budget() == Budget(time_s=None, cost_usd=0.125)
        assert child.budget() == Budget(time_s=None, cost_usd=0.125)

    def test_without_a_cap_money_is_no_object(self, clock: Clock) -> None:
        assert Run("answer", SLO("2s")).budget() == Budget(time_s=2.0, cost_usd=None)

    def test_call_numbers_are_given_once_each(self) -> None:
        run = Run("answer", SLO())
        taken: list[int] = []
        threads = [
            threading.Thread(target=lambda: taken.extend(run.next_call_index() for _ in range(500))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == list(range(2000))
        assert run.calls == 2000

    def test_decisions_are_bounded_and_the_last_one_tells_the_odds(self) -> None:
        run = Run("answer", SLO())
        assert run.p_meet is None
        for index in range(MAX_DECISIONS + 1):
            run.decisions.append(decision(index / 2000))
        assert len(run.decisions) == MAX_DECISIONS
        assert run.p_meet == 0.5

    def test_the_forecast_comes_from_the_runtime(self) -> None:
        run = Run("answer", SLO())
        assert run.forecast() is None
        run.forecaster = lambda asking: QuantileForecast.constant(3.0) if asking is run else None
        forecast = run.forecast()
        assert forecast is not None
        assert np.all(forecast.values == 3.0)


class TestEnd:
    @pytest.fixture
    def ended(self) -> Callable[[Run], list[str]]:
        def watch(run: Run) -> list[str]:
            told: list[str] = []

            class Keeper:
                start_run = emit = None

                def end_run(self, run: Run, outcome: str) -> None:
                    told.append(outcome)

            run.runtime = Keeper()  # type: ignore[assignment]
            return told

        return watch

    def test_only_the_first_end_counts(self, ended: Callable[[Run], list[str]]) -> None:
        run = Run("answer", SLO())
        told = ended(run)
        run.finish("ok")
        run.finish("error")
        assert told == ["ok"]
        assert (run.finished, run.outcome) == (True, "ok")

    def test_a_held_run_ends_with_the_last_release(self, ended: Callable[[Run], list[str]]) -> None:
        run = Run("answer", SLO())
        told = ended(run)
        run.hold()
        run.hold()
        run.finish_when_released(lambda: run.finish("ok"))
        run.release()
        assert told == []
        run.release()
        assert told == ["ok"]

    def test_a_run_that_nobody_holds_ends_at_once(self, ended: Callable[[Run], list[str]]) -> None:
        run = Run("answer", SLO())
        told = ended(run)
        run.hold()
        run.release()
        run.finish_when_released(lambda: run.finish("ok"))
        assert told == ["ok"]

    def test_a_release_after_the_end_is_nothing(self, ended: Callable[[Run], list[str]]) -> None:
        run = Run("answer", SLO())
        told = ended(run)
        run.hold()
        run.finish_when_released(lambda: run.finish("ok"))
        run.finish("deadline")
        run.release()
        assert told == ["deadline"]


def test_an_error_is_a_timeout_without_cause(clock: Clock) -> None:
    error = deadline_error(Run("answer", SLO("2s")), clock())
    assert isinstance(error, (DeadlineExceeded, TimeoutError))
    assert (error.__cause__, error.__context__) == (None, None)
