"""A run reaches into another process: headers, environment, ASGI."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

import agentsched as ags
from agentsched.workflow import wire

Clock = Any  # tests/conftest.py: VirtualClock
Surroundings = Any  # tests/conftest.py
ModelCall = Any  # tests/conftest.py: model_call


@pytest.fixture(autouse=True)
def nothing_is_loaded(surroundings: Surroundings) -> None:
    """Every test here runs without a scheduler."""


def sent(clock: Clock, **slo: Any) -> tuple[ags.Run, dict[str, str]]:
    """A run that is two seconds old, and the headers it sends."""

    @ags.workflow(ags.SLO("20s", **slo), name="answer")
    def answer() -> tuple[ags.Run | None, dict[str, str]]:
        clock.advance(2.0)
        with ags.step("search"):
            return ags.current(), ags.propagate({"accept": "*/*"})

    run, headers = answer()
    assert run is not None
    return run, headers


class TestAttach:
    def test_the_block_is_a_run_that_ends_with_the_senders(self, clock: Clock, surroundings: Surroundings) -> None:
        sender, headers = sent(clock, priority=2, tenant="acme")
        clock.now = 5.0  # another machine's clock
        block = ags.attach(headers)
        clock.advance(1.0)  # counted from the arrival, not from the start of the block
        with block as run:
            assert run is ags.current()
            assert run is not None
            assert (run.workflow, run.step, run.remaining()) == ("answer", "search", 17.0)
            assert (run.remote_parent_id, run.trace_id) == (sender.run_id, sender.trace_id)
            assert (run.slo.priority, run.slo.tenant, run.slo.deadline_s) == (2, "acme", None)
            assert run.run_id != sender.run_id
            assert ags.propagate()["traceparent"].split("-")[1] == sender.trace_id
            inner = ags.workflow(ags.SLO("60s"), name="tool")(ags.current)()
            assert inner is not None
            assert (inner.limit_at, inner.parent) == (run.limit_at, run)
        assert surroundings.outcomes[1:] == [("tool", "ok"), ("answer", "ok")]

    def test_a_late_block_raises_the_deadline(self, clock: Clock, model_call: ModelCall) -> None:
        _, headers = sent(clock)
        with pytest.raises(ags.DeadlineExceeded) as caught, ags.attach(headers):
            model_call(clock.advance(19.0))
        assert caught.value.deadline_s == 18.0

    def test_a_budget_that_was_spent_on_the_way_lets_no_call_through(self, clock: Clock, model_call: ModelCall) -> None:
        with pytest.raises(ags.DeadlineExceeded), ags.attach({"baggage": "agentsched.remaining_s=-4"}):
            model_call(clock.advance(0.01))

    async def test_async_the_block_is_cancelled(self) -> None:
        with pytest.raises(ags.DeadlineExceeded):
            async with ags.attach({"baggage": "agentsched.remaining_s=0.02"}):
                await asyncio.sleep(30)

    @pytest.mark.parametrize("headers", [{}, {"baggage": "user=ann"}, [(b"host", b"x")]])
    async def test_without_a_sender_there_is_no_run(self, surroundings: Surroundings, headers: Any) -> None:
        with ags.attach(headers) as run:
            assert run is ags.current() is None
        async with ags.attach(headers) as run:
            assert run is None
        assert surroundings.listener.started == []

    def test_inside_a_run_both_bounds_hold(self, clock: Clock) -> None:
        @ags.workflow("5s")
        def answer(remaining_s: float) -> float | None:
            with ags.attach({"baggage": f"agentsched.remaining_s={remaining_s}"}) as run:
                assert run is not None
                assert run.parent is not None
                return run.remaining()

        assert (answer(3), answer(30)) == (3.0, 5.0)

    def test_outside_a_run_nothing_is_sent(self) -> None:
        assert ags.propagate({"accept": "*/*"}) == {"accept": "*/*"}
        assert ags.propagate() == {}


class TestEnvironment:
    def test_the_first_runs_of_a_subprocess_are_bounded(
        self, clock: Clock, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AGENTSCHED_BAGGAGE", "agentsched.remaining_s=20,agentsched.run=r1,agentsched.tenant=acme")
        monkeypatch.setattr(wire, "_ARRIVED_AT", clock.now)
        clock.advance(3.0)

        @ags.workflow
        def tool() -> tuple[float | None, str | None, str, float | None]:
            run = ags.current()
            assert run is not None
            return run.remaining(), run.remote_parent_id, run.slo.tenant, ags.workflow(lambda: run.remaining())()

        assert tool() == (17.0, "r1", "acme", 17.0)
        with ags.attach() as run:
            assert run is not None
            assert (run.remaining(), run.remote_parent_id) == (17.0, "r1")

    def test_without_it_they_are_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AGENTSCHED_BAGGAGE", raising=False)
        with ags.attach() as run:
            assert run is None

    def test_a_real_subprocess(self) -> None:
        program = (
            "import json, agentsched as ags\n"
            "from agentsched.workflow.scope import current_run\n"
            "with ags.attach() as run:\n"
            "    print(json.dumps([run.remaining(), run.remote_parent_id, run.trace_id]))\n"
        )

        @ags.workflow("20s")
        def answer() -> tuple[Any, ags.Run | None]:
            env = ags.propagate_env(os.environ | {"PYTHONPATH": os.getcwd()})
            env.pop("AGENTSCHED_CONFIG", None)
            out = subprocess.run(
                [sys.executable, "-c", program], env=env, stdout=subprocess.PIPE, check=True, timeout=30
            ).stdout
            return json.loads(out), ags.current()

        (remaining_s, parent_id, trace_id), run = answer()
        assert run is not None
        assert 15.0 < remaining_s <= 20.0
        assert (parent_id, trace_id) == (run.run_id, run.trace_id)


class TestMiddleware:
    @staticmethod
    async def ask(app: Any, headers: dict[str, str], kind: str = "http") -> list[Any]:
        """What the middleware sends when ``app`` handles one connection with these headers."""
        messages: list[Any] = []

        async def receive() -> Any:
            raise AssertionError

        async def send(message: Any) -> None:
            messages.append(message)

        pairs = [(name.title().encode(), value.encode()) for name, value in headers.items()]
        await ags.AgentschedMiddleware(app)({"type": kind, "headers": pairs}, receive, send)
        return messages

    @pytest.mark.parametrize("kind", ["http", "websocket"])
    async def test_a_request_is_handled_inside_the_senders_budget(self, clock: Clock, kind: str) -> None:
        sender, headers = sent(clock)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            run = ags.current()
            assert run is not None
            await send({"type": "x", "found": (run.remote_parent_id, run.remaining())})

        assert await self.ask(app, headers, kind) == [{"type": "x", "found": (sender.run_id, 18.0)}]
        assert ags.current() is None

    async def test_a_request_from_outside_is_left_alone(self, surroundings: Surroundings) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "x", "found": ags.current()})

        assert await self.ask(app, {"accept": "*/*"}) == [{"type": "x", "found": None}]
        assert surroundings.listener.started == []

    async def test_the_lifespan_is_left_alone(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(scope)

        assert await self.ask(app, {}, "lifespan") == [{"type": "lifespan", "headers": []}]

    async def test_an_answer_that_is_too_late_is_a_504(self, surroundings: Surroundings) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(30)

        start, body = await self.ask(app, {"baggage": "agentsched.remaining_s=0.02,agentsched.workflow=answer"})
        assert start["status"] == 504
        assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
        assert surroundings.outcomes == [("answer", "deadline")]

    @pytest.mark.parametrize(("kind", "begun"), [("http", True), ("websocket", False)])
    async def test_what_cannot_be_answered_any_more_is_broken_off(self, kind: str, begun: bool) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if begun:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.sleep(30)

        with pytest.raises(ags.DeadlineExceeded):
            await self.ask(app, {"baggage": "agentsched.remaining_s=0.02"}, kind)

    @pytest.mark.parametrize("error", [ZeroDivisionError(), ags.DeadlineExceeded(workflow="the handler's own")])
    @pytest.mark.parametrize("headers", [{}, {"baggage": "agentsched.remaining_s=20"}])
    async def test_errors_of_the_application_pass(self, error: Exception, headers: dict[str, str]) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            await self.ask(app, headers)
        assert caught.value is error

    async def test_under_starlette_with_a_streaming_answer(self) -> None:
        starlette = pytest.importorskip("starlette.applications")
        httpx = pytest.importorskip("httpx")
        from starlette.responses import StreamingResponse
        from starlette.routing import Route

        async def chunks() -> AsyncIterator[str]:
            for _ in range(2):
                run = ags.current()
                yield f"{run and run.workflow} "

        def endpoint(request: Any) -> StreamingResponse:  # synchronous: in a worker thread
            run = ags.current()
            return StreamingResponse(chunks(), headers={"x-run": str(run and run.workflow)})

        app = starlette.Starlette(routes=[Route("/", endpoint)])
        app.add_middleware(ags.AgentschedMiddleware)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tool") as client:

            @ags.workflow("20s", name="answer")
            async def answer() -> Any:
                return ags.propagate()

            inside = await client.get("/", headers=await answer())
            outside = await client.get("/")
        assert (inside.headers["x-run"], inside.text) == ("answer", "answer answer ")
        assert (outside.headers["x-run"], outside.text) == ("None", "None None ")
