import os
import signal
import subprocess
import sys
import time

import pytest

from agentsched import runtime as runtime_module
from agentsched.core.endpoint import Endpoint, Pool, Profile
from agentsched.core.records import Feedback
from agentsched.core.remainder import RunHistory
from agentsched.core.slo import SLO
from agentsched.errors import CallFailed, ConfigError
from agentsched.runtime import configure, runtime_for, shutdown
from agentsched.workflow.scope import Run
from tests.dispatch.conftest import a_call, asked, emulated, make_runtime  # noqa: F401 - fixtures

POOL = Pool([Endpoint(name="a", base_url="http://127.0.0.1:9/v1", model="m")])


@pytest.fixture(autouse=True)
def _forget_runtimes(monkeypatch):
    monkeypatch.delenv("AGENTSCHED_CONFIG", raising=False)
    shutdown()
    yield
    shutdown()


def test_nothing_configured_is_no_runtime():
    assert runtime_for(None) is None


def test_a_file_that_lies_there_unused_is_told_once(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert runtime_for(None) is None
    assert not caplog.records
    shutdown()
    (tmp_path / "pool.yaml").write_text("not read")
    assert runtime_for(None) is runtime_for(None) is None
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "pool.yaml lies here but nothing names it"
    ]


def test_configuring_from_nothing_says_what_is_missing():
    with pytest.raises(ConfigError, match="AGENTSCHED_CONFIG"):
        configure(None)


def test_what_names_no_pool_is_a_mistake_of_the_configuration():
    for use in (configure, runtime_for):
        with pytest.raises(ConfigError, match=r"pool: names no pool .given: <class 'int'>.; allowed: a Pool"):
            use(5)


def test_a_bad_configuration_leaves_the_one_before(tmp_path):
    first = configure(POOL)
    bad = tmp_path / "pool.yaml"
    bad.write_text("version: 1\nendpoints: []\n")
    with pytest.raises(ConfigError, match=str(bad)):
        configure(str(bad))
    assert runtime_for(None) is first


def test_the_environment_is_read_once_when_first_needed(tmp_path, monkeypatch):
    file = tmp_path / "pool.yaml"
    file.write_text("version: 1\nendpoints: [{name: a, base_url: 'http://127.0.0.1:9/v1', model: m}]\n")
    monkeypatch.setenv("AGENTSCHED_CONFIG", str(file))
    made = runtime_for(None)
    assert made is not None
    assert made.settings.pool.endpoints[0].name == "a"
    assert runtime_for(None) is made


def test_one_runtime_per_pool():
    other = Pool([Endpoint(name="b", base_url="http://127.0.0.1:9/v1", model="m")])
    assert runtime_for(POOL) is runtime_for(POOL)
    assert runtime_for(POOL) is not runtime_for(other)


def test_a_file_s_content_as_a_mapping_is_as_good_as_the_file():
    content = {"version": 1, "endpoints": [{"name": "m1", "base_url": "http://127.0.0.1:9/v1", "model": "m"}]}
    assert configure(content).settings.pool.endpoints[0].name == "m1"
    assert runtime_for(content) is runtime_for(content)
    with pytest.raises(ConfigError, match="endpoints"):
        configure({"version": 1, "endpoints": []})


def test_one_that_is_replaced_ends_with_its_last_run(emulated):  # noqa: F811 - a fixture
    old = configure(emulated.pool())
    run, left = Run("w", SLO("20s"), runtime=old), Run("w", SLO("20s"), runtime=old)
    old.start_run(run)
    old.start_run(left)
    old.dispatcher.send_blocking(a_call(), asked())
    lane = old.dispatcher._portal.lane
    configure(POOL)
    assert old.dispatcher.send_blocking(a_call(), asked()).status == 200
    assert old.dispatcher._portal.lane is lane, "nothing of it was closed under its runs"
    del left  # never ended, and never will be
    run.finish("ok")
    ended(old)
    old.emit(Feedback(run.run_id, 1.0, run.clock()))
    ended(old)


def test_one_that_could_not_be_closed_is_at_the_next_chance(emulated, monkeypatch):  # noqa: F811 - a fixture
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    old = configure(emulated.pool())
    run = Run("w", SLO("20s"), runtime=old)
    old.start_run(run)
    old.dispatcher.send_blocking(a_call(), asked())
    configure(POOL)
    with monkeypatch.context() as full:
        full.setattr(runtime_module, "start_apart", refuse)
        run.finish("ok")
        assert not old.dispatcher._portal.lane.dead
    old.emit(Feedback(run.run_id, 1.0, run.clock()))
    ended(old)


def ended(runtime):
    """Wait until nothing of it runs any more: its own threads bring that about."""
    until = time.monotonic() + 5
    while not (runtime._learner._thread is None and runtime.dispatcher._portal.lane.dead):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_one_that_is_replaced_while_nothing_runs_ends_at_once(emulated):  # noqa: F811 - a fixture
    old = configure(emulated.pool())
    old.dispatcher.send_blocking(a_call(), asked())
    configure(POOL)
    ended(old)


def test_a_shutdown_ends_what_was_replaced_as_well(emulated):  # noqa: F811 - a fixture
    old = configure(emulated.pool())
    run = Run("w", SLO("20s"), runtime=old)
    old.start_run(run)
    old.dispatcher.send_blocking(a_call(), asked())
    configure(POOL)
    shutdown()
    ended(old)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_that_reads_on_in_its_parent_s_stream_is_told(emulated):  # noqa: F811 - a fixture
    runtime = configure(emulated.pool())
    reply = runtime.dispatcher.send_blocking(a_call(30.0, stream=True), asked("hello [[out=200]]", stream=True))
    chunks = iter(reply.stream)
    next(chunks)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            list(chunks)
        except CallFailed:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert b"[DONE]" in b"".join(chunks)


def test_runs_teach_what_follows(emulated, make_runtime):  # noqa: F811 - fixtures
    runtime = make_runtime(emulated.pool())
    for _ in range(3):
        run = Run("w", SLO("20s"), runtime=runtime)
        runtime.start_run(run)
        call = a_call()
        call = type(call)(call.call_id, run.run_id, "w", "only", 0, "m", deadline_at=run.limit_at)
        run.open_call(0, "only", run.clock())
        runtime.dispatcher.send_blocking(call, asked())
        run.finished = True
        runtime.end_run(run, "ok")
    runtime.flush()
    fresh = Run("w", SLO("20s"), runtime=runtime)
    runtime.start_run(fresh)
    whole = fresh.forecast()
    assert whole is not None
    assert 0 < whole.quantile(0.5) < 5
    assert run.decisions[-1].reason.startswith("first: ")
    assert run.spent_s[0][0] == "only"
    known = runtime.dispatcher.scheduler._lengths.predict(call, RunHistory())
    assert known.quantile(0.5) < 150, "20-token answers were seen"


def test_the_fastest_endpoint_that_may_answer_is_told(make_runtime):  # noqa: F811 - a fixture
    def endpoint(name, model, tpot_s):
        profile = Profile(ttft_s=10 * tpot_s, tpot_s=tpot_s, tpot_per_batch_s=0.0)
        return Endpoint(name=name, base_url="http://127.0.0.1:9/v1", model=model, profile=profile)

    pool = Pool([endpoint("slow", "m", 0.05), endpoint("fast", "m", 0.02), endpoint("other", "n", 0.001)])
    runtime = make_runtime(pool)
    assert runtime.fastest("m") == pytest.approx((0.2, 0.02))
    assert runtime.fastest("n") == pytest.approx((0.01, 0.001))


def test_the_end_of_a_process_is_told_from_a_shutdown():
    """Only then threads that wait are not told: they would complain while the interpreter goes."""
    program = (
        "from agentsched.runtime import Runtime, configure\n"
        "Runtime.close = lambda self, *, at_exit=False: print(at_exit)\n"
        "configure({'version': 1, 'endpoints': [{'name': 'a', 'base_url': 'http://127.0.0.1:9/v1', 'model': 'm'}]})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30)
    assert done.stdout == "True\n"


def test_a_generator_that_ends_with_the_interpreter_does_not_hold_it():
    """Its run ends when no thread can be started any more: Python 3.11 waits for one that is for ever."""
    program = (
        "import agentsched\n"
        "agentsched.configure({'version': 1, 'endpoints': [{'name': 'a', 'base_url': 'http://127.0.0.1:9/v1', "
        "'model': 'm'}]})\n"
        "@agentsched.workflow\n"
        "def items():\n"
        "    yield from range(9)\n"
        "held = items()\n"
        "next(held)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
