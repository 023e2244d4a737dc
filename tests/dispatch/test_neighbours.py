"""Processes that share an endpoint through a store: here two runtimes in one process, and forked ones."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentsched.core.endpoint import Endpoint, Pool
from agentsched.core.records import Note
from agentsched.core.slo import SLO
from agentsched.dispatch.neighbours import keys_of
from agentsched.endpoints.exchange import Reply
from agentsched.errors import ConfigError
from agentsched.runtime import Runtime, fresh_scheduler
from agentsched.scheduler.events import OthersKnow
from agentsched.settings import Settings, StateSettings
from agentsched.workflow.scope import Run
from tests.dispatch.conftest import EmulatorThread, a_call, asked
from tests.state.conftest import redis_server  # noqa: F401 - a fixture
from tests.state.redis_server import RedisServer

QUICK_S = 0.05
SOON_S = 5.0

Make = Callable[..., Runtime]


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what no event announces."""
    pause = threading.Event()
    for _ in range(int(SOON_S / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it did not come about")


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Runtime] = []

    def make_one(pool: Pool, url: object, backend: str = "sqlite") -> Runtime:
        runtime = Runtime(Settings(pool, state=StateSettings(backend, str(url), QUICK_S)))  # type: ignore[arg-type]
        made.append(runtime)
        return runtime

    yield make_one
    for runtime in made:
        runtime.close()


def _requests(event: OthersKnow) -> float:
    return sum(known.requests for known in event.knowledge)


def begin(runtime: Runtime) -> Run:
    run = Run("w", SLO("60s"), runtime=runtime)
    runtime.start_run(run)
    return run


def others(runtime: Runtime, name: str = "a") -> float:
    """How many calls of others this runtime believes to run at an endpoint."""
    scheduler = runtime.dispatcher.scheduler
    table = scheduler.ledger.table
    return float(runtime.dispatcher.look(lambda _, now: table.others.rows(now)[0, table.index[name]]))


def in_background(runtime: Runtime, prompt: str) -> threading.Thread:
    def work() -> None:
        assert isinstance(runtime.dispatcher.send_blocking(a_call(30.0), asked(prompt)), Reply)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.fixture
def pool(emulated: EmulatorThread) -> Pool:
    return Pool([Endpoint(name="a", base_url=emulated.urls["a"], model="m")])


LONG = "hello [[out=2000]]"
"""Under a second at the emulator's speed."""


def test_a_call_of_one_is_seen_by_the_other_and_so_is_its_end(pool: Pool, make: Make, tmp_path: Path) -> None:
    (endpoint,) = pool.endpoints
    renamed = Pool([Endpoint(name="mine", base_url=endpoint.base_url, model="m", api_key="other")])
    one, two = make(pool, tmp_path / "s.db"), make(renamed, tmp_path / "s.db")
    begin(one)
    begin(two)
    thread = in_background(one, LONG)
    eventually(lambda: others(two, "mine") > 0.99)
    assert others(one) < 0.01, "what is one's own is not told to oneself"
    thread.join(30)
    eventually(lambda: others(two, "mine") < 0.01)


def test_who_ends_is_forgotten_at_once_and_may_begin_again(pool: Pool, make: Make, tmp_path: Path) -> None:
    one, two = make(pool, tmp_path / "s.db"), make(pool, tmp_path / "s.db")
    begin(one)
    begin(two)
    thread = in_background(one, LONG)
    eventually(lambda: others(two) > 0.99)
    assert one._neighbours is not None
    one._neighbours.leave()
    eventually(lambda: others(two) < 0.01)
    begin(one)
    thread.join(30)
    thread = in_background(one, LONG)
    eventually(lambda: others(two) > 0.99)
    thread.join(30)


def test_nothing_is_shared_before_the_first_run_or_with_the_memory_backend(
    pool: Pool, make: Make, tmp_path: Path
) -> None:
    make(pool, tmp_path / "s.db")
    begin(Runtime(Settings(pool)))
    assert not any(thread.name == "agentsched-gossip" for thread in threading.enumerate())
    assert not (tmp_path / "s.db").exists()


def test_a_run_begins_also_where_no_thread_can_be_started(
    pool: Pool, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    one, two = make(pool, tmp_path / "s.db"), make(pool, tmp_path / "s.db")
    begin(two)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        begin(one)
    begin(one)
    thread = in_background(one, LONG)
    eventually(lambda: others(two) > 0.99)
    thread.join(30)


def test_a_limit_is_kept_by_all_together(emulated: EmulatorThread, make: Make, tmp_path: Path) -> None:
    pool = Pool([Endpoint(name="a", base_url=emulated.urls["a"], model="m", rpm=4), *emulated.pool().endpoints[1:]])
    runtimes = [make(pool, tmp_path / "s.db") for _ in range(2)]
    for runtime in runtimes:
        begin(runtime)
    heard: list[object] = []
    post = runtimes[1].dispatcher.post
    runtimes[1].dispatcher.post = lambda event: (post(event), heard.append(event))[0]  # type: ignore[method-assign,func-returns-value]
    served = [runtimes[0].dispatcher.send_blocking(a_call(None), asked()).endpoint for _ in range(6)]
    mine = served.count("a")
    assert 0 < mine <= 4
    eventually(lambda: any(isinstance(event, OthersKnow) and _requests(event) > mine - 0.5 for event in heard))
    served = [runtimes[1].dispatcher.send_blocking(a_call(None), asked()).endpoint for _ in range(6)]
    assert served.count("a") <= 4 - mine


def test_a_redis_server_that_dies_and_comes_back_harms_no_call(
    pool: Pool,
    make: Make,
    redis_server: RedisServer,  # noqa: F811 - the fixture
) -> None:
    one, two = make(pool, redis_server.url, "redis"), make(pool, redis_server.url, "redis")
    notes: list[str] = []
    emit = one.emit
    one.emit = lambda record: notes.append(record.text) if isinstance(record, Note) else emit(record)  # type: ignore[method-assign]
    begin(one)
    begin(two)
    thread = in_background(one, LONG)
    eventually(lambda: others(two) > 0.99)
    redis_server.kill()
    thread.join(30)
    eventually(lambda: len(notes) == 1)
    for runtime in (one, two):
        for _ in range(5):
            assert runtime.dispatcher.send_blocking(a_call(10.0), asked()).status == 200
    redis_server.start()
    eventually(lambda: len(notes) == 2)
    thread = in_background(one, LONG)
    eventually(lambda: others(two) > 0.99)
    thread.join(30)
    assert ["out of reach" in notes[0], "back" in notes[1], len(notes)] == [True, True, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_a_client_of_its_own(pool: Pool, make: Make, tmp_path: Path) -> None:
    parent = make(pool, tmp_path / "s.db")
    begin(parent)
    eventually(lambda: (tmp_path / "s.db").exists())
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            parent.begin_anew()
            begin(parent)
            thread = in_background(parent, LONG)
            thread.join(30)
            parent.close()
            status = 0
        finally:
            os._exit(status)
    eventually(lambda: others(parent) > 0.99)
    assert os.waitpid(pid, 0)[1] == 0
    eventually(lambda: others(parent) < 0.01)
    assert parent.dispatcher.send_blocking(a_call(10.0), asked()).status == 200


def test_a_backend_that_cannot_be_had_is_told_when_it_is_configured(pool: Pool) -> None:
    pytest.importorskip("redis", reason="redis-py is not installed")
    with pytest.raises(ConfigError, match=r"state\.url"):
        Runtime(Settings(pool, state=StateSettings("redis", "redis://h?socket_timeout=x")))


def test_keys_tell_servers_and_models_apart_and_loopback_addresses_of_hosts() -> None:
    here, there = Endpoint("a", "http://127.0.0.1:1/v1", "m"), Endpoint("b", "http://h:1/v1", "m")
    one, two = keys_of([here, there], "host-1"), keys_of([here, there], "host-2")
    assert one["a"] != two["a"]
    assert one["b"] == two["b"]
    twice = keys_of([there, Endpoint("c", "http://h:1/v1", "m", api_key="other")], "host-1")
    assert len(set(twice.values())) == 2


def test_clients_that_are_configured_are_supposed_to_do_alike(pool: Pool) -> None:
    for clients, others_supposed in ((1, 0), (8, 7)):
        scheduler = fresh_scheduler(Settings(pool, state=StateSettings(clients=clients)))
        assert scheduler.ledger.table.others.count == others_supposed
