import asyncio
import gc
import json
import os
import signal
import threading
import time

import pytest

from agentsched.core.endpoint import Endpoint, Pool
from agentsched.core.rules import Rules, StreamRules
from agentsched.dispatch import connections
from agentsched.dispatch.body import HOLD_BYTES
from agentsched.errors import (
    CallFailed,
    CallTimedOut,
    DeadlineExceeded,
    EndpointsUnavailable,
    NoCapableEndpoint,
    StreamBroken,
)
from tests.dispatch.conftest import EmulatorThread, a_call, asked


async def until(quiet_down) -> None:
    """Wait for something that another thread brings about."""
    async with asyncio.timeout(5):
        while not quiet_down():  # noqa: ASYNC110 - the emulator lives in another loop and has no event for it
            await asyncio.sleep(0.01)


def quiet(runtime) -> None:
    """Nothing is open, nothing contradicts itself."""
    deadline = time.monotonic() + 5
    while runtime.dispatcher.open_calls and time.monotonic() < deadline:
        time.sleep(0.01)
    scheduler = runtime.dispatcher.scheduler
    assert runtime.dispatcher.open_calls == 0
    assert scheduler.idle
    scheduler.check_invariants()
    assert scheduler.ledger.table.rows.in_flight.sum() == 0


async def test_a_whole_answer(emulated, make_runtime):
    runtime = make_runtime(emulated.pool())
    reply = await runtime.dispatcher.send(a_call(), asked())
    assert reply.status == 200
    assert json.loads(reply.content)["usage"]["completion_tokens"] == 20
    assert reply.endpoint in ("a", "b")
    assert not {"content-length", "transfer-encoding"} & {name for name, _ in reply.headers}
    quiet(runtime)


async def test_a_stream_passes_event_by_event(emulated, make_runtime):
    runtime = make_runtime(emulated.pool())
    reply = await runtime.dispatcher.send(a_call(stream=True), asked(stream=True))
    events = [event async for event in reply.stream]
    assert len(events) > 20
    assert all(event.endswith(b"\n\n") for event in events)
    assert events[-1] == b"data: [DONE]\n\n"
    quiet(runtime)


def test_without_a_loop(emulated, make_runtime):
    runtime = make_runtime(emulated.pool())
    assert runtime.dispatcher.send_blocking(a_call(), asked()).status == 200
    reply = runtime.dispatcher.send_blocking(a_call(stream=True), asked(stream=True))
    assert list(reply.stream)[-1] == b"data: [DONE]\n\n"
    quiet(runtime)


class TimeIsUp(Exception):
    """What Celery and RQ raise in a job that takes too long, from the handler of a signal."""


def test_what_a_signal_raises_while_a_call_is_waited_for_cancels_it(emulated, make_runtime):
    runtime = make_runtime(Pool([Endpoint(name="a", base_url=emulated.urls["a"], model="m")]))

    def time_is_up(number: int, frame: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, time_is_up)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(TimeIsUp):
            runtime.dispatcher.send_blocking(a_call(60), asked("slow [[out=4000]]"))
        assert runtime.dispatcher.open_calls == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    quiet(runtime)


def test_calls_that_are_open_when_the_process_ends_are_no_news(emulated, make_runtime, caplog):
    runtime = make_runtime(emulated.pool())
    reply = runtime.dispatcher.send_blocking(a_call(60, stream=True), asked("slow [[out=4000]]", stream=True))
    next(iter(reply.stream))
    runtime.close()
    assert runtime.dispatcher.open_calls == 0
    assert not [record for record in caplog.records if record.name == "agentsched"]


async def test_cancelling_the_caller_frees_the_slot_upstream(emulated, make_runtime):
    runtime = make_runtime(Pool([Endpoint(name="a", base_url=emulated.urls["a"], model="m")]))
    task = asyncio.create_task(runtime.dispatcher.send(a_call(60), asked("slow [[out=4000]]")))
    await until(lambda: emulated.running("a"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not emulated.running("a"))
    quiet(runtime)


@pytest.mark.parametrize("forget", [False, True])
async def test_closing_or_forgetting_a_stream_frees_the_slot_upstream(emulated, make_runtime, forget):
    runtime = make_runtime(Pool([Endpoint(name="a", base_url=emulated.urls["a"], model="m")]))
    reply = await runtime.dispatcher.send(a_call(60, stream=True), asked("slow [[out=4000]]", stream=True))
    await anext(aiter(reply.stream))
    if forget:
        del reply
    else:
        await reply.stream.aclose()
    await until(lambda: not emulated.running("a"))
    await until(lambda: runtime.dispatcher.open_calls == 0)


async def test_a_runtime_that_was_closed_leaves_no_connection_in_a_loop_that_goes_on(emulated, make_runtime):
    """As in a server that is configured anew; calls that are open, or made later by runs of before, are answered."""
    loop = asyncio.get_running_loop()

    def connected() -> bool:
        return any(not each.closed for each in connections._connectors if each._of is loop)

    runtime = make_runtime(emulated.pool())
    reply = await runtime.dispatcher.send(a_call(stream=True), asked(stream=True))
    runtime.close()
    await asyncio.sleep(0)
    assert connected()
    assert b"".join([piece async for piece in reply.stream]).endswith(b"[DONE]\n\n")
    await until(lambda: not connected())
    assert (await runtime.dispatcher.send(a_call(), asked())).status == 200
    await until(lambda: not connected())
    quiet(runtime)


async def test_a_slow_reader_holds_the_server_back_without_losing_the_answer(emulated, make_runtime):
    rules = Rules(stream=StreamRules(idle_timeout=0.3))
    runtime = make_runtime(Pool([Endpoint(name="a", base_url=emulated.urls["a"], model="m")]), rules)
    reply = await runtime.dispatcher.send(a_call(30, stream=True), asked("long [[out=4000]]", stream=True))
    stream, total, most = reply.stream, 0, 0
    async for event in stream:
        total += len(event)
        most = max(most, stream._stream.held_bytes)
        if total < HOLD_BYTES and total // 50_000 != (total - len(event)) // 50_000:
            await asyncio.sleep(0.2)
    assert total > HOLD_BYTES
    assert most < 3 * HOLD_BYTES
    quiet(runtime)


async def test_the_deadline_ends_a_silent_call(emulated, make_runtime):
    emulated.inject("a", "silent")
    emulated.inject("b", "silent")
    runtime = make_runtime(emulated.pool())
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        await runtime.dispatcher.send(a_call(0.5), asked())
    assert 0.45 < time.monotonic() - began < 3.0
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    quiet(runtime)


async def test_the_callers_own_timeout_ends_a_silent_call(emulated, make_runtime):
    emulated.inject("a", "silent")
    emulated.inject("b", "silent")
    runtime = make_runtime(emulated.pool())
    with pytest.raises(CallTimedOut):
        await runtime.dispatcher.send(a_call(None, patience_s=0.3), asked())
    quiet(runtime)


async def test_a_stream_cut_after_its_beginning_breaks_and_says_so(emulated, make_runtime):
    for name in "ab":
        emulated.inject(name, "cut", after=5)
    runtime = make_runtime(emulated.pool())
    reply = await runtime.dispatcher.send(a_call(stream=True), asked(stream=True))
    with pytest.raises(StreamBroken):
        async for _ in reply.stream:
            pass
    quiet(runtime)


async def test_nobody_is_there(make_runtime):
    runtime = make_runtime(Pool([Endpoint(name="gone", base_url="http://127.0.0.1:9/v1", model="m")]))
    with pytest.raises(EndpointsUnavailable, match="gone: connect"):
        await runtime.dispatcher.send(a_call(2), asked())
    quiet(runtime)


async def test_nobody_can(emulated, make_runtime):
    runtime = make_runtime(emulated.pool(quality=0.4))
    with pytest.raises(NoCapableEndpoint, match=r"quality of at least 0\.9"):
        await runtime.dispatcher.send(a_call(min_quality=0.9), asked())


async def test_a_refusal_is_handed_over_unchanged(emulated, make_runtime):
    body = {"model": "m", "messages": "not a list"}
    exchange = asked()
    refused = type(exchange)(exchange.api, body, json.dumps(body).encode(), (), False)
    runtime = make_runtime(emulated.pool())
    reply = await runtime.dispatcher.send(a_call(), refused)
    assert reply.status in (400, 422)
    assert "error" in json.loads(reply.content)
    quiet(runtime)


def test_three_loops_and_eight_threads_share_two_slots(make_runtime):
    """The busiest instant never has more than two requests upstream, and everybody is answered."""
    with EmulatorThread("a") as emulated:
        runtime = make_runtime(emulated.pool(max_concurrency=2))
        answers: list[int] = []
        most = 0
        done = threading.Event()

        def in_a_loop() -> None:
            async def several() -> None:
                replies = await asyncio.gather(*(runtime.dispatcher.send(a_call(30), asked()) for _ in range(6)))
                answers.extend(reply.status for reply in replies)

            asyncio.run(several())

        def in_a_thread() -> None:
            answers.extend(runtime.dispatcher.send_blocking(a_call(30), asked()).status for _ in range(3))

        def watch() -> None:
            nonlocal most
            while not done.wait(0.002):
                most = max(most, emulated.running("a"))

        threads = [threading.Thread(target=in_a_loop) for _ in range(3)]
        threads += [threading.Thread(target=in_a_thread) for _ in range(8)]
        watcher = threading.Thread(target=watch)
        watcher.start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        done.set()
        watcher.join(5)
        assert answers == [200] * (3 * 6 + 8 * 3)
        assert 1 <= most <= 2
        quiet(runtime)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_closed_mid_call_frees_its_slots(make_runtime):
    with EmulatorThread("a") as emulated:
        runtime = make_runtime(emulated.pool(max_concurrency=1))
        loop = asyncio.new_event_loop()
        abandoned = loop.create_task(runtime.dispatcher.send(a_call(60), asked("slow [[out=4000]]")))
        while not emulated.running("a"):
            loop.run_until_complete(asyncio.sleep(0.01))
        abandoned._log_destroy_pending = False  # this is the abuse that the test is about
        loop.close()
        assert runtime.dispatcher.send_blocking(a_call(20), asked()).status == 200
        quiet(runtime)
        del abandoned, loop
        gc.collect()  # asyncio complains of the abandoned tasks here, where that is expected


def test_a_forked_child_starts_anew(emulated, make_runtime):
    runtime = make_runtime(emulated.pool())
    assert runtime.dispatcher.send_blocking(a_call(), asked()).status == 200
    with runtime.dispatcher._lock:  # the worst instant to fork
        child = os.fork()
        if child == 0:
            try:
                runtime.begin_anew()
                status = runtime.dispatcher.send_blocking(a_call(), asked()).status
                os._exit(0 if status == 200 else 1)
            except BaseException:  # noqa: BLE001 - the child must never return into pytest
                os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert runtime.dispatcher.send_blocking(a_call(), asked()).status == 200


async def test_the_safety_clamp_never_waits_while_the_books_are_right(emulated, make_runtime):
    runtime = make_runtime(emulated.pool(rpm=30))
    replies = await asyncio.gather(*(runtime.dispatcher.send(a_call(20), asked()) for _ in range(50)))
    assert [reply.status for reply in replies] == [200] * 50
    assert runtime.dispatcher.clamped == 0


@pytest.mark.parametrize("stream", [False, True])
def test_who_waits_in_a_thread_is_told_when_the_runtime_is_closed(emulated, make_runtime, stream):
    runtime = make_runtime(emulated.pool())
    ended, begun = [], threading.Event()

    def work():
        try:
            reply = runtime.dispatcher.send_blocking(
                a_call(None, stream=stream), asked("hi [[out=4000]]", stream=stream)
            )
            begun.set()
            list(reply.stream)
        except CallFailed as error:
            ended.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    if stream:
        assert begun.wait(10)
    else:
        while emulated.running("a") + emulated.running("b") == 0:
            thread.join(0.01)
    runtime.close()
    thread.join(10)
    assert ended == ["its runtime was closed while the call was open"]
    assert runtime.dispatcher.open_calls == 0
    assert runtime.dispatcher.send_blocking(a_call(), asked()).status == 200, "it may be used again"


@pytest.mark.parametrize("stream", [False, True])
def test_daemon_threads_are_not_told_that_the_process_ends(emulated, make_runtime, stream):
    runtime = make_runtime(emulated.pool())
    told, begun = [], threading.Event()

    def work():
        try:
            reply = runtime.dispatcher.send_blocking(
                a_call(None, stream=stream), asked("hi [[out=4000]]", stream=stream)
            )
            for _ in reply.stream:
                begun.set()
        except CallFailed as error:
            told.append(error)

    threading.Thread(target=work, daemon=True).start()
    if stream:
        assert begun.wait(5)
    else:
        while not runtime.dispatcher.open_calls:
            time.sleep(0.01)
    runtime.close(at_exit=True)
    assert runtime.dispatcher.open_calls == 0
    time.sleep(0.05)
    assert not told


def test_the_main_thread_is_told_that_the_process_ends(emulated, make_runtime):
    runtime = make_runtime(emulated.pool())
    reply = runtime.dispatcher.send_blocking(a_call(60, stream=True), asked("slow [[out=4000]]", stream=True))
    next(iter(reply.stream))
    runtime.close(at_exit=True)
    with pytest.raises(CallFailed, match="closed"):
        list(reply.stream)


def refuse(thread: threading.Thread) -> None:
    """What Python 3.12 does once the main thread has ended."""
    raise RuntimeError("can't create new thread at interpreter shutdown")


def test_the_end_of_a_process_needs_no_new_thread(emulated, make_runtime, monkeypatch):
    runtime = make_runtime(emulated.pool())
    reply = runtime.dispatcher.send_blocking(a_call(60, stream=True), asked("slow [[out=4000]]", stream=True))
    next(iter(reply.stream))
    with monkeypatch.context() as late:
        late.setattr(threading.Thread, "start", refuse)
        runtime.close(at_exit=True)
    assert runtime.dispatcher.open_calls == 0


def test_where_no_thread_can_be_started_now_one_can_be_later(emulated, make_runtime, monkeypatch):
    runtime = make_runtime(emulated.pool())
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            runtime.dispatcher.send_blocking(a_call(), asked())
        runtime.close()
    assert runtime.dispatcher.send_blocking(a_call(), asked()).status == 200
    quiet(runtime)


def test_a_call_that_opens_connections_while_all_is_closed_ends(emulated, make_runtime, monkeypatch):
    runtime = make_runtime(emulated.pool())
    dispatcher, opening, told = runtime.dispatcher, threading.Event(), []
    open_lane = dispatcher._open_lane

    async def open_slowly(loop):
        opening.set()
        await asyncio.sleep(0.05)
        return await open_lane(loop)

    def call():
        try:
            told.append(dispatcher.send_blocking(a_call(), asked()).status)
        except CallFailed as error:
            told.append(str(error))

    monkeypatch.setattr(dispatcher, "_open_lane", open_slowly)
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    assert opening.wait(5)
    dispatcher.close()
    thread.join(5)
    assert told in ([200], ["its runtime was closed while the call was open"])
    quiet(runtime)


def test_a_call_that_arrives_while_all_is_closed_is_told(emulated, make_runtime, monkeypatch):
    runtime = make_runtime(emulated.pool())
    dispatcher, told = runtime.dispatcher, []
    arrive = dispatcher._arrive

    def arrive_late(pending):
        dispatcher.close()
        arrive(pending)

    def call():
        with pytest.raises(CallFailed, match="closed"):
            dispatcher.send_blocking(a_call(None), asked())
        told.append("closed")

    monkeypatch.setattr(dispatcher, "_arrive", arrive_late)
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(5)
    assert told == ["closed"]
    quiet(runtime)


@pytest.mark.parametrize("before", [True, False])
def test_an_interrupt_while_a_call_arrives_leaves_nothing(emulated, make_runtime, monkeypatch, before):
    runtime = make_runtime(emulated.pool())
    dispatcher = runtime.dispatcher
    post = dispatcher.post

    def interrupted(event):
        monkeypatch.setattr(dispatcher, "post", post)
        if not before:
            post(event)
        raise KeyboardInterrupt

    monkeypatch.setattr(dispatcher, "post", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dispatcher.send_blocking(a_call(), asked())
    quiet(runtime)
