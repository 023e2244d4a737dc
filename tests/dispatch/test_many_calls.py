"""500 streams at once, one in five cancelled, one in ten faulty: nothing lost, nothing doubled, nothing leaked; and the
recording of it all replays exactly."""

import asyncio

import pytest

from agentsched.errors import CallFailed, DeadlineExceeded
from agentsched.runtime import fresh_scheduler
from agentsched.scheduler.recording import first_difference
from tests.dispatch.conftest import EmulatorThread, a_call, asked

CALLS = 500


@pytest.mark.timeout(120)
async def test_the_crowd(make_runtime, tmp_path):
    with EmulatorThread("a", "b", "c", "d") as emulated:
        for name, kind in (("a", "cut"), ("b", "server_error"), ("c", "malformed_sse"), ("d", "rate_limit")):
            emulated.inject(name, kind, probability=0.1, **({"after": 3} if kind != "server_error" else {}))
        path = tmp_path / "events.jsonl"
        runtime = make_runtime(emulated.pool(max_concurrency=100), record_events=path)
        tasks_before = len(asyncio.all_tasks())

        async def one(i: int) -> str:
            try:
                reply = await runtime.dispatcher.send(
                    a_call(60, stream=True), asked(f"call {i} [[out=40]]", stream=True)
                )
                body = b"".join([event async for event in reply.stream])
            except (CallFailed, DeadlineExceeded) as error:
                return type(error).__name__
            assert body.count(b"data: [DONE]") == 1, "an answer must be whole, and there once"
            return "ok"

        tasks = [asyncio.create_task(one(i)) for i in range(CALLS)]
        for task in tasks[::5]:
            asyncio.get_running_loop().call_later(0.3, task.cancel)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        named = ["cancelled" if isinstance(o, asyncio.CancelledError) else o for o in outcomes]
        assert all(isinstance(outcome, str) for outcome in named), named
        assert len(named) == CALLS
        assert named.count("ok") >= 0.6 * CALLS
        assert "cancelled" in named
        await asyncio.sleep(0.3)
        scheduler = runtime.dispatcher.scheduler
        assert runtime.dispatcher.open_calls == 0
        scheduler.check_invariants()
        assert scheduler.ledger.table.rows.in_flight.sum() == 0
        assert len(asyncio.all_tasks()) <= tasks_before
        for name in "abcd":
            assert emulated.running(name) == 0
        runtime.flush()
        recorded = path.read_text().splitlines()
        assert len(recorded) > 2 * CALLS
        assert first_difference(recorded, fresh_scheduler(runtime.settings)) is None
