"""Beside tools that replace the same methods: tracing, error reports, green threads. Each in a process of its own."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig
from agentsched.emulator.process import start_pool

PROGRAM = Path(__file__).with_name("beside_tools.py")
ROOT = PROGRAM.parents[2]
PACKAGES = {"otel": "opentelemetry.instrumentation.threading", "sentry": "sentry_sdk", "gevent": "gevent"}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file that tells of a running pool of two endpoints."""
    endpoints = tuple(EmulatedEndpoint(name=name, profile="llama3-8b-h100", model="m") for name in ("a", "b"))
    with start_pool(EmulatorConfig(endpoints=endpoints, time_scale=10)) as running:
        file = tmp_path_factory.mktemp("pool") / "pool.json"
        file.write_text(json.dumps({"config": running.pool_config, "url": running.url("a")}), encoding="utf-8")
        yield file


def missing(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is None
    except ModuleNotFoundError:
        return True


@pytest.mark.parametrize(
    ("tool", "order"),
    [
        ("otel", "before"),
        ("otel", "after"),
        ("sentry", "before"),
        ("sentry", "after"),
        ("gevent", "before"),
        ("gevent", "forked"),
    ],
)
def test_every_call_is_caught_in_its_run_and_bounded(tool: str, order: str, pool: Path) -> None:
    if missing(PACKAGES[tool]):
        pytest.skip(f"{PACKAGES[tool]} is not installed")
    command = [sys.executable, str(PROGRAM), tool, order, str(pool)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"own": [True] * 6, "calls": 7, "late": "at the deadline"}
