"""Every example runs as its reader would run it, and prints what it is there to show."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

from agentsched.emulator.defaults import default_config
from agentsched.emulator.process import start_pool

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "examples").glob("[0-9]*.py"))

Output = Callable[[str], str]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Output]:
    """What each example prints. They all start at once and share a pool, but for one that starts its own."""
    with start_pool(default_config(time_scale=3)) as pool:
        config = tmp_path_factory.mktemp("pool") / "pool.yaml"
        config.write_text(yaml.safe_dump(pool.pool_config))
        running = {name: _start(name, None if "explain" in name else config, tmp_path_factory) for name in NAMES}
        try:
            yield lambda name: _printed(running[name])
        finally:
            for process in running.values():
                _stop(process)


def _start(name: str, config: Path | None, folders: pytest.TempPathFactory) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if key != "AGENTSCHED_CONFIG"}
    environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "integrations")))
    if config is not None:
        environment["AGENTSCHED_CONFIG"] = str(config)
    command = [sys.executable, ROOT / "examples" / f"{name}.py"]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=folders.mktemp(name),
        start_new_session=True,
    )


def _stop(process: subprocess.Popen[str]) -> None:
    """End an example and what it started: that would hold the pipe open."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _printed(process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=55)
    assert process.returncode == 0, text
    return text


def test_plain_sdk(output: Output) -> None:
    text = output("01_plain_sdk")
    assert len(re.findall(r"^  \S+: first, expected \d", text, re.MULTILINE)) == 2
    assert re.search(r"\d\.\d\d s used, 2\d\.\d\d s left", text)
    late = re.search(r"workflow 'far_too_late' .* ran out of time: (\d\.\d\d) s of 0\.20 s spent", text)
    assert late is not None
    assert float(late.group(1)) < 0.4


def test_langgraph(output: Output) -> None:
    text = output("02_langgraph")
    steps = re.findall(r"^  (\S+) +-> \S+$", text, re.MULTILINE)
    assert len(steps) == 5
    if entry_points(group="agentsched.adapters"):  # not so in a checkout that nobody installed
        assert steps == ["plan", "research", "research", "research", "write"]


def test_async_fanout(output: Output) -> None:
    text = output("03_async_fanout")
    assert "no picture: its 0.1 s were over" in text
    assert re.findall(r"^  (\w+): \d\.\d\d s of model time", text, re.MULTILINE)[0] == "research"


def test_two_services(output: Output) -> None:
    text = output("04_two_services")
    caller = re.search(r"caller: +run (\w+), ([\d.]+) s left", text)
    service = re.search(r"service: ([\d.]+) s left of the run that (\w+) began, step 'summarise'", text)
    assert caller is not None
    assert service is not None
    assert service.group(2) == caller.group(1)
    assert 0 < float(service.group(1)) < float(caller.group(2)) < 20


def test_explain(output: Output) -> None:
    text = output("05_explain")
    assert "$ agentsched explain worst" in text
    assert "search #3" in text
    assert "critical path" in text
    assert "workflow research: 2 runs" in text


def test_every_example_is_short_and_tested() -> None:
    assert NAMES == ["01_plain_sdk", "02_langgraph", "03_async_fanout", "04_two_services", "05_explain"]
    for name in NAMES:
        assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) < 80
