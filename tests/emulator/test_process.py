"""A pool as a process of its own: it comes up, does as it is told, and never outlives its parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import openai
import pytest

from agentsched.emulator import EmulatedEndpoint, EmulatorConfig, Fault
from agentsched.emulator.process import PoolProcess, start_pool
from agentsched.emulator.selfcheck import check_pacing
from agentsched.engine import HardwareProfile
from agentsched.errors import ConfigError


def listens(url: str) -> bool:
    place = urlsplit(url)
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((place.hostname, place.port)) == 0


def gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether a process that is not our child ends within some time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if _is_zombie(pid):
            return True
        time.sleep(0.02)
    return False


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return False


@pytest.fixture
def process(gpu_profile: HardwareProfile) -> Iterator[PoolProcess]:
    endpoints = tuple(EmulatedEndpoint(name=name, profile=gpu_profile, model="test-model") for name in ("a", "b"))
    with start_pool(EmulatorConfig(endpoints=endpoints, time_scale=20)) as pool:
        yield pool


def test_it_serves_takes_orders_and_stops(process: PoolProcess) -> None:
    with openai.OpenAI(base_url=process.url("a"), api_key="any", max_retries=0) as client:
        messages = [{"role": "user", "content": "hi [[out=5]]"}]
        answer = client.chat.completions.create(model="test-model", messages=messages)  # type: ignore[arg-type]
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 5
        process.control.inject("a", Fault(kind="server_error", count=1))
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="test-model", messages=messages)  # type: ignore[arg-type]
    assert process.control.load("a")["output_tokens"] == 5
    process.control.slow_down("b", 2.0, 1.0)
    process.control.fail("b", 0.1)
    process.control.clear("a")
    process.control.clear_pacing()
    assert process.control.pacing()["all"]["chunks"] == 0
    assert [entry["name"] for entry in process.pool_config["endpoints"]] == ["a", "b"]
    with pytest.raises(ConfigError, match="no such endpoint"):
        process.url("c")
    with pytest.raises(ConfigError, match="404"):
        process.control.load("c")
    process.stop()
    assert not process.alive
    assert not listens(process.urls["a"])
    with pytest.raises(ConfigError, match="cannot be reached"):
        process.control.pacing()


def test_it_dies_with_its_parent() -> None:
    program = textwrap.dedent(
        """
        import os, signal
        from agentsched.emulator.process import start_pool
        pool = start_pool()
        print(pool.pid, pool.url("h200"), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    parent = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=20)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    pid, url = parent.stdout.split()
    assert gone(int(pid))
    assert not listens(url)


def test_a_bad_configuration_is_told_by_the_child(process: PoolProcess, gpu_profile: HardwareProfile) -> None:
    port = urlsplit(process.url("a")).port
    assert port is not None
    taken = EmulatedEndpoint(name="x", profile=gpu_profile, port=port)
    with pytest.raises(ConfigError, match="cannot listen"):
        start_pool(EmulatorConfig(endpoints=(taken,)))


def test_the_self_check_measures_what_was_streamed() -> None:
    report = check_pacing(endpoints=2, streams=10, tpot_s=0.030, seconds=0.5, warm_up_s=0.3)
    assert report.pacing["chunks"] > 100
    assert abs(report.chunks_received - report.pacing["chunks"]) <= 0.3 * report.pacing["chunks"]
    assert "10 streams" in report.text()
    assert report.on_time == (report.p95_share < 0.05)
