"""The decorator's runs and their outcomes, for functions of every kind; steps, hints, checks and feedback."""

import asyncio
import functools
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

import agentsched as ags
from agentsched import api
from agentsched.core.records import Feedback
from agentsched.workflow.frame import current_frame

Clock = Any  # tests/conftest.py: VirtualClock
Surroundings = Any  # tests/conftest.py
ModelCall = Callable[..., str]  # tests/conftest.py: model_call


@pytest.fixture(autouse=True)
def nothing_is_loaded(surroundings: Surroundings) -> None:
    """Every test here runs without a scheduler."""


def running() -> ags.Run:
    run = ags.current()
    assert run is not None
    return run


class TestRuns:
    def test_each_call_is_a_run_that_begins_and_ends(self, surroundings: Surroundings) -> None:
        @ags.workflow(slo=ags.SLO("20s"), name="qa")
        def answer(question: str) -> tuple[ags.Run, str]:
            assert surroundings.listener.started == [ags.current()]
            return running(), question

        run, question = answer("why?")
        assert (question, run.workflow, run.slo.deadline_s) == ("why?", "qa", 20.0)
        assert (run.finished, run.outcome, run.runtime) == (True, "ok", surroundings.listener)
        assert surroundings.outcomes == [("qa", "ok")]
        assert ags.current() is None

    def test_without_a_pool_runs_are_bounded_all_the_same(
        self, surroundings: Surroundings, clock: Clock, model_call: ModelCall
    ) -> None:
        surroundings.runtimes[None] = None

        @ags.workflow("2s")
        def answer() -> str:
            clock.advance(3.0)
            return model_call()

        with pytest.raises(ags.DeadlineExceeded):
            answer()

    def test_a_run_uses_its_own_pool_and_those_inside_it_do_too(self, surroundings: Surroundings) -> None:
        pool = ags.Pool([ags.Endpoint(name="a", base_url="http://a/v1", model="m")])
        surroundings.runtimes[pool] = surroundings.runtimes["pool.yaml"] = None

        @ags.workflow
        def inner() -> object:
            return running().runtime

        @ags.workflow(pool=pool)
        def outer() -> object:
            return inner()

        @ags.workflow(pool="pool.yaml")
        def other() -> object:
            return running().runtime

        @ags.workflow
        def around() -> tuple[object, object]:
            return inner(), other()

        assert outer() is None
        assert around() == (surroundings.listener, None)

    def test_what_is_loaded_at_the_first_run_is_paid_for_from_its_time(
        self, surroundings: Surroundings, clock: Clock
    ) -> None:
        sys.modules["agentsched.intercept"].instrument = lambda: clock.advance(0.5)  # type: ignore[attr-defined]
        assert ags.workflow("2s")(lambda: running().remaining())() == 1.5

    def test_interception_is_switched_on_at_each_start(self, surroundings: Surroundings) -> None:
        assert ags.workflow(lambda: len(surroundings.switched))() == 1
        assert ags.workflow(lambda: len(surroundings.switched))() == 2
        ags.uninstrument()
        assert surroundings.switched == ["on", "on", "off"]

    @pytest.mark.parametrize("slo", ["20s", 20, 20.0, timedelta(seconds=20)])
    def test_a_bare_duration_is_a_deadline(self, slo: Any) -> None:
        assert ags.workflow(slo)(lambda: running().deadline_s)() == 20.0

    def test_an_unusable_slo_is_named(self) -> None:
        with pytest.raises(ags.ConfigError, match=r"slo\.deadline"):
            ags.workflow("soon")

    def test_an_error_of_the_runtime_is_the_callers(self, surroundings: Surroundings) -> None:
        def broken(pool: object) -> None:
            raise ags.ConfigError("no such file", file="pool.yaml")

        sys.modules["agentsched.runtime"].runtime_for = broken  # type: ignore[attr-defined]
        with pytest.raises(ags.ConfigError, match=r"pool\.yaml"):
            ags.workflow(lambda: None)()

        async def work() -> None: ...

        with pytest.raises(ags.ConfigError):
            asyncio.run(ags.workflow(work)())  # and no warning that the coroutine was never awaited


class TestKinds:
    def test_functions_keep_their_face(self) -> None:
        def answer(question: str, *, times: int = 2) -> str:
            """Docs."""
            return question * times

        made = ags.workflow(answer)
        assert (made.__name__, made.__doc__, made.__module__) == ("answer", "Docs.", __name__)
        assert inspect.signature(made) == inspect.signature(answer)
        assert made("a", times=3) == "aaa"
        with pytest.raises(TypeError, match="unexpected keyword"):
            made("a", tmies=3)  # type: ignore[call-arg]

    def test_kinds_are_told_right(self) -> None:
        def plain() -> None: ...
        async def coroutine() -> None: ...
        def generator() -> Any:
            yield

        async def async_generator() -> Any:
            yield

        for test in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
            for fn in (plain, coroutine, generator, async_generator):
                assert test(ags.workflow(fn)) == test(fn)

    def test_methods_of_every_kind(self) -> None:
        class Agent:
            def __init__(self, name: str) -> None:
                self.name = name

            @ags.workflow
            def plain(self) -> tuple[str, str]:
                return self.name, running().workflow

            @classmethod
            @ags.workflow
            def of_class(cls) -> tuple[str, str]:
                return cls.__name__, running().workflow

            @staticmethod
            @ags.workflow
            def static(x: str) -> tuple[str, str]:
                return x, running().workflow

            @ags.workflow
            @staticmethod
            def static_below(x: str) -> tuple[str, str]:
                return x, running().workflow

            @ags.workflow(name="below")
            @classmethod
            def of_class_below(cls) -> tuple[str, str]:
                return cls.__name__, running().workflow

        agent = Agent("ann")
        assert agent.plain() == ("ann", "Agent.plain")
        assert agent.of_class() == Agent.of_class() == ("Agent", "Agent.of_class")
        assert agent.static("x") == Agent.static("x") == ("x", "Agent.static")
        assert agent.static_below("x") == ("x", "Agent.static_below")
        assert Agent.of_class_below() == ("Agent", "below")

    def test_other_callables(self) -> None:
        class Agent:
            def __call__(self, x: int) -> tuple[int, str]:
                return x, running().workflow

        def add(x: int, y: int) -> tuple[int, str]:
            return x + y, running().workflow

        async def later(x: int) -> tuple[int, str]:
            return x, running().workflow

        assert ags.workflow(Agent())(3) == (3, Agent.__qualname__.rpartition("<locals>.")[2])
        assert ags.workflow(functools.partial(add, 1))(2) == (3, "add")
        assert asyncio.run(ags.workflow(functools.partial(later, 3))()) == (3, "later")

    @pytest.mark.parametrize("name", [5, "  ", b"answer"])
    def test_what_is_no_name_is_refused(self, name: Any) -> None:
        with pytest.raises(ags.ConfigError, match=r"workflow\.name: not a name"):
            ags.workflow(name=name)(lambda: None)

    def test_what_is_no_function_is_refused(self) -> None:
        with pytest.raises(ags.ConfigError, match="workflow: not a function"):
            ags.workflow(int)


class TestOutcomes:
    @pytest.mark.parametrize(("takes_s", "outcome"), [(1.0, "ok"), (3.0, "late")])
    def test_a_result_is_handed_out_even_if_it_is_late(
        self, surroundings: Surroundings, clock: Clock, takes_s: float, outcome: str
    ) -> None:
        @ags.workflow("2s")
        def answer() -> str:
            clock.advance(takes_s)
            return "answer"

        assert answer() == "answer"
        assert surroundings.outcomes == [("answer", outcome)]

    @pytest.mark.parametrize(
        ("error", "outcome"),
        [(ValueError, "error"), (KeyboardInterrupt, "cancelled"), (SystemExit, "error"), (TimeoutError, "error")],
    )
    def test_the_users_own_errors_pass_unchanged(
        self, surroundings: Surroundings, error: type[BaseException], outcome: str
    ) -> None:
        raised = error("mine")

        @ags.workflow("2s")
        def answer() -> None:
            raise raised from ZeroDivisionError()

        with pytest.raises(error) as caught:
            answer()
        assert caught.value is raised
        assert isinstance(raised.__cause__, ZeroDivisionError)
        assert surroundings.outcomes == [("answer", outcome)]

    def test_an_error_that_was_swallowed_is_no_error(
        self, surroundings: Surroundings, clock: Clock, model_call: ModelCall
    ) -> None:
        @ags.workflow("2s")
        def answer() -> str:
            clock.advance(3.0)
            try:
                return model_call()
            except Exception:  # noqa: BLE001 as many agents do
                return "fallback"

        assert answer() == "fallback"
        assert surroundings.outcomes == [("answer", "late")]

    def test_a_deadline_that_is_ignored_never_raises(
        self, surroundings: Surroundings, clock: Clock, model_call: ModelCall
    ) -> None:
        @ags.workflow(ags.SLO("2s", on_late="ignore"))
        def answer() -> str:
            clock.advance(3.0)
            ags.check()
            return model_call()

        assert answer() == "answer"
        assert surroundings.outcomes == [("answer", "late")]


class TestReturnedFutures:
    def test_a_future_that_a_function_returns_ends_the_run(self, surroundings: Surroundings) -> None:
        futures: list[Future[str]] = [Future(), Future(), Future()]
        hand_out = ags.workflow(lambda n: futures[n], name="answer")
        for n in range(3):
            assert hand_out(n) is futures[n]
        assert surroundings.outcomes == []
        futures[0].set_result("answer")
        futures[1].set_exception(ValueError())
        futures[2].cancel()
        assert surroundings.outcomes == [("answer", "ok"), ("answer", "error"), ("answer", "cancelled")]

    async def test_so_does_a_task(self, surroundings: Surroundings) -> None:
        async def work() -> ags.Run:
            await asyncio.sleep(0)
            return running()

        @ags.workflow
        def answer() -> Awaitable[ags.Run]:
            return asyncio.create_task(work())

        task = answer()
        assert surroundings.outcomes == []
        run = await task
        await asyncio.sleep(0)
        assert surroundings.listener.ended == [(run, "ok")]


class TestOpenAnswers:
    """An answer that is still being read when the function returns keeps the run open."""

    class Stream:
        def __iter__(self) -> Any:
            return iter(())

    def test_the_run_ends_when_the_answer_has_been_read(self, surroundings: Surroundings) -> None:
        held = []

        @ags.workflow
        def answer() -> object:
            held.append(running())
            running().hold()
            return self.Stream()

        answer()
        assert surroundings.outcomes == []
        assert ags.current() is None
        held[0].release()
        assert surroundings.outcomes == [("answer", "ok")]

    def test_so_does_that_of_a_block(self, surroundings: Surroundings) -> None:
        with ags.deadline("5s") as run:
            running().hold()
        assert surroundings.outcomes == []
        assert run is not None
        run.release()
        assert surroundings.outcomes == [("deadline", "ok")]

    def test_an_error_ends_the_run_at_once(self, surroundings: Surroundings) -> None:
        def broken() -> None:
            running().hold()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError), ags.deadline("5s"):
            broken()
        assert surroundings.outcomes == [("deadline", "error")]

    @pytest.mark.parametrize("result", [None, "text", b"bytes", 3, 0.5, True])
    def test_plain_data_has_no_answer_behind_it(self, surroundings: Surroundings, result: object) -> None:
        @ags.workflow
        def answer() -> object:
            running().hold()
            return result

        assert answer() == result
        assert surroundings.outcomes == [("answer", "ok")]


class TestCheck:
    def test_outside_a_run_nothing_is_late(self) -> None:
        ags.check()

    def test_it_raises_when_the_steps_time_is_spent(self, clock: Clock) -> None:
        @ags.workflow(ags.SLO("20s", reserve={"final": "3s"}))
        def answer() -> None:
            with ags.step("plan"):
                clock.advance(16.9)
                ags.check()
                clock.advance(0.2)
                with pytest.raises(ags.DeadlineExceeded) as caught:
                    ags.check()
                assert caught.value.step == "plan"
            with ags.step("final"):
                ags.check()

        answer()


class TestStepAndHint:
    def test_a_step_is_the_runs_and_ends_with_it(self) -> None:
        @ags.workflow
        def answer() -> list[str | None]:
            seen = [running().step]
            with ags.step("plan"):
                seen.append(running().step)
            ags.step("write")
            return [*seen, running().step]

        with ags.step("outside"):
            assert answer() == [None, "plan", "write"]
            assert current_frame().step == "outside"

    def test_hints_reach_the_calls_that_follow(self, model_call: ModelCall) -> None:
        @ags.workflow
        def inner() -> object:
            return current_frame().hints

        @ags.workflow
        def answer() -> None:
            model_call()
            with ags.hint(expected_calls=3, output_tokens=200):
                ags.hint(repeatable=False)
                hints = current_frame().hints
                assert hints.remaining_calls(running().calls) == 2.0
                assert (hints.output_tokens, hints.repeatable) == (200, False)
                within = inner()
                assert within == hints.for_another_run()
            assert current_frame().hints.output_tokens is None

        answer()

    def test_an_unusable_hint_is_named(self) -> None:
        with pytest.raises(ags.ConfigError, match=r"hint\.output_tokens"):
            ags.hint(output_tokens=0)


class TestFeedback:
    def test_it_is_emitted_where_the_run_was(self, surroundings: Surroundings, clock: Clock) -> None:
        pool = ags.Pool([ags.Endpoint(name="a", base_url="http://a/v1", model="m")])
        special = surroundings.runtimes[pool] = type(surroundings.listener)("special")
        run = ags.workflow(pool=pool)(running)()
        ags.feedback(run, 0.75)
        ags.feedback(run.run_id, 1)
        ags.feedback("a run of another process", 0.0)
        assert special.records == [Feedback(run.run_id, 0.75, 1000.0), Feedback(run.run_id, 1.0, 1000.0)]
        assert surroundings.listener.records == [Feedback("a run of another process", 0.0, 1000.0)]

    def test_without_a_log_it_is_said(self, surroundings: Surroundings, caplog: pytest.LogCaptureFixture) -> None:
        surroundings.runtimes[None] = None
        with caplog.at_level(logging.INFO, "agentsched"):
            ags.feedback("r1", 0.5)
        assert "r1" in caplog.text

    @pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), True, "good", None])
    def test_the_score_is_checked(self, score: Any) -> None:
        with pytest.raises(ags.ConfigError, match=r"feedback\.score"):
            ags.feedback("r1", score)

    @pytest.mark.parametrize("run", [None, "", 3])
    def test_the_run_is_checked(self, run: Any) -> None:
        with pytest.raises(ags.ConfigError, match=r"feedback\.run"):
            ags.feedback(run, 0.5)

    def test_only_so_many_runs_are_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(api, "MAX_RECENT", len(api._recent) + 1)
        first, second = (ags.workflow(lambda: running().run_id)() for _ in range(2))
        ags.workflow(lambda: None)()
        assert second in api._recent
        assert first in api._recent
        assert len(api._recent) == api.MAX_RECENT


def test_configure_makes_the_runtime(surroundings: Surroundings) -> None:
    assert ags.configure("pool.yaml") is surroundings.runtimes["pool.yaml"]
