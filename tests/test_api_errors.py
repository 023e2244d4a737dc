"""How a spent deadline leaves the decorator, whatever a framework makes of it, in nested runs too."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pytest

import agentsched as ags

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


class TestDeadlineError:
    """Whatever a framework makes of it, it leaves the decorator as DeadlineExceeded, without cause or context."""

    @pytest.fixture
    def raised(self, clock: Clock) -> Callable[[Callable[[], object]], ags.DeadlineExceeded]:
        def run(body: Callable[[], object]) -> ags.DeadlineExceeded:
            @ags.workflow("2s", name="answer")
            def late() -> object:
                clock.advance(2.5)
                return body()

            def called_while_busy() -> None:
                try:
                    raise KeyError  # what the caller is handling must not become the context either
                except KeyError:
                    late()

            with pytest.raises(ags.DeadlineExceeded) as caught:
                called_while_busy()
            error = caught.value
            assert (error.__cause__, error.__context__, error.__suppress_context__) == (None, None, True)
            assert (error.workflow, error.deadline_s, error.elapsed_s) == ("answer", 2.0, 2.5)
            return error

        return run

    def test_as_it_is(self, raised: Any, surroundings: Surroundings, model_call: ModelCall) -> None:
        raised(model_call)
        assert surroundings.outcomes == [("answer", "deadline")]

    def test_from_check(self, raised: Any) -> None:
        assert raised(ags.check).step is None

    def test_wrapped(self, raised: Any, model_call: ModelCall) -> None:
        def framework() -> None:
            try:
                model_call("plan")
            except TimeoutError as error:
                raise RuntimeError("the agent failed") from error

        assert raised(framework).step == "plan"

    def test_replaced_by_bare_text(self, raised: Any, caplog: pytest.LogCaptureFixture, model_call: ModelCall) -> None:
        def framework() -> None:
            try:
                model_call()
            except TimeoutError as error:
                message = str(error)
            raise RuntimeError(message)

        with caplog.at_level(logging.INFO, "agentsched"):
            raised(framework)
        (record,) = caplog.records
        assert record.name == "agentsched"
        assert record.levelno == logging.INFO
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], RuntimeError)

    def test_grouped(self, raised: Any, model_call: ModelCall) -> None:
        def framework() -> None:
            try:
                model_call()
            except TimeoutError as error:
                raise ExceptionGroup("branches", [error, ValueError()]) from None

        raised(framework)

    def test_replaced_altogether(self, raised: Any, model_call: ModelCall) -> None:
        def framework() -> None:
            with contextlib.suppress(TimeoutError):
                model_call()
            raise RuntimeError("no result")

        raised(framework)

    def test_as_another_deadline_error_that_names_the_run(self, raised: Any, clock: Clock) -> None:
        class SdkTimeout(ags.DeadlineExceeded): ...

        def framework() -> None:
            try:
                raise ConnectionError
            except ConnectionError as error:
                raise SdkTimeout(run_id=running().run_id, workflow="answer", deadline_s=2.0, elapsed_s=2.5) from error

        raised(framework)

    def test_an_interrupt_is_never_replaced(self, clock: Clock, model_call: ModelCall) -> None:
        @ags.workflow("2s")
        def answer() -> None:
            clock.advance(3.0)
            try:
                model_call()
            except TimeoutError:
                raise KeyboardInterrupt from None

        with pytest.raises(KeyboardInterrupt):
            answer()

    def test_an_error_after_one_that_was_handled_in_time_is_the_users(
        self, clock: Clock, surroundings: Surroundings, model_call: ModelCall
    ) -> None:
        @ags.workflow(ags.SLO("20s", reserve={"final": "5s"}))
        def answer() -> None:
            clock.advance(16.0)
            with pytest.raises(ags.DeadlineExceeded):
                model_call("plan")
            model_call("final")
            raise ValueError("a mistake in the final step")

        with pytest.raises(ValueError, match="a mistake"):
            answer()
        assert surroundings.outcomes == [("answer", "error")]

    def test_but_not_if_it_still_tells_of_it(self, clock: Clock, model_call: ModelCall) -> None:
        @ags.workflow(ags.SLO("20s", reserve={"final": "5s"}))
        def answer() -> None:
            clock.advance(16.0)
            try:
                model_call("plan")
            except TimeoutError as error:
                failed = error
            model_call("final")
            raise RuntimeError(f"a branch failed: {failed}")

        with pytest.raises(ags.DeadlineExceeded):
            answer()


class TestNested:
    def test_the_earlier_deadline_holds_and_the_inner_run_has_its_own_slo(
        self, surroundings: Surroundings, clock: Clock
    ) -> None:
        @ags.workflow(ags.SLO("30s", tenant="inner"))
        def inner() -> tuple[float | None, str, ags.Run | None]:
            run = running()
            return run.limit_at, run.slo.tenant, run.parent

        @ags.workflow(ags.SLO("20s", tenant="outer"))
        def outer() -> object:
            clock.advance(1.0)
            return inner(), running()

        result, run = outer()  # type: ignore[misc]
        assert result == (1020.0, "inner", run)
        assert surroundings.outcomes == [("inner", "ok"), ("outer", "ok")]

    def test_an_inner_run_without_slo_takes_over_what_is_not_time_or_money(self, clock: Clock) -> None:
        outer_slo = ags.SLO("20s", priority=2, tenant="acme", min_quality=0.5, percentile=0.9, max_cost_usd=1.0)
        slo = ags.workflow(outer_slo)(lambda: ags.workflow(lambda: running().slo)())()
        assert slo == ags.SLO(priority=2, tenant="acme", min_quality=0.5, percentile=0.9)

    def test_time_reserved_for_a_step_is_kept_from_runs_inside_other_steps(self, clock: Clock) -> None:
        inner = ags.workflow(lambda: running().limit_at)

        @ags.workflow(ags.SLO("20s", reserve={"final": "3s"}))
        def outer() -> list[float | None]:
            ags.step("plan")
            first = inner()
            ags.step("final")
            return [first, inner()]

        assert outer() == [1017.0, 1020.0]

    def test_a_deadline_around_a_run_bounds_it(self, clock: Clock) -> None:
        with ags.deadline("5s"):
            assert ags.workflow("30s")(lambda: running().limit_at)() == 1005.0

    def test_when_both_are_late_each_raises_its_own(
        self, clock: Clock, surroundings: Surroundings, model_call: ModelCall
    ) -> None:
        caught: list[ags.DeadlineExceeded] = []

        @ags.workflow("30s", name="inner")
        def inner() -> str:
            clock.advance(25.0)
            return model_call()

        @ags.workflow("20s", name="outer")
        def outer() -> None:
            try:
                inner()
            except ags.DeadlineExceeded as error:
                caught.append(error)
                raise RuntimeError from error

        with pytest.raises(ags.DeadlineExceeded) as error:
            outer()
        assert [each.workflow for each in (*caught, error.value)] == ["inner", "outer"]
        assert surroundings.outcomes == [("inner", "deadline"), ("outer", "deadline")]

    def test_an_inner_run_that_is_late_alone_can_be_replaced(
        self, clock: Clock, surroundings: Surroundings, model_call: ModelCall
    ) -> None:
        @ags.workflow("5s", name="inner")
        def inner() -> str:
            clock.advance(6.0)
            return model_call()

        @ags.workflow("20s", name="outer")
        def outer() -> str:
            try:
                return inner()
            except ags.DeadlineExceeded:
                return model_call()

        assert outer() == "answer"
        assert surroundings.outcomes == [("inner", "deadline"), ("outer", "ok")]

    async def test_when_the_same_instant_ends_both_the_outer_one_is_told(self, surroundings: Surroundings) -> None:
        @ags.workflow(name="inner")
        async def inner() -> None:
            await asyncio.sleep(30)

        @ags.workflow(0.03, name="outer")
        async def outer() -> None:
            await inner()

        with pytest.raises(ags.DeadlineExceeded) as caught:
            await outer()
        assert caught.value.workflow == "outer"
        assert surroundings.outcomes == [("inner", "deadline"), ("outer", "deadline")]


def test_an_error_whose_text_cannot_be_had_is_raised_as_it_is(clock: Clock, model_call: ModelCall) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise AttributeError("half made")

    @ags.workflow(ags.SLO("20s", reserve={"final": "5s"}))
    def answer() -> None:
        clock.advance(16.0)
        with contextlib.suppress(ags.DeadlineExceeded):
            model_call("plan")
        model_call("final")
        raise Broken

    with pytest.raises(Broken):
        answer()
