"""Every example runs as its reader would run it, and prints what it is there to show."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from agentsched.emulator.defaults import default_config
from agentsched.emulator.process import start_pool

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "examples").glob("[0-9]*.py"))
NEEDS = {
    "06_langgraph_agent": "langchain",
    "07_crewai": "crewai",
    "08_autogen": "autogen_agentchat",
    "09_asgi_service": "uvicorn",
    "10_resume_after_crash": "langgraph.checkpoint.sqlite",
}
"""What an example imports that not every environment of the tests has."""

ADAPTERS = ("autogen", "crewai", "langgraph")

Output = Callable[[str], str]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Output]:
    """What each example prints. They share a pool, but for one that starts its own, and run two at a time."""
    installed = _installed(tmp_path_factory.mktemp("site"))
    running: list[subprocess.Popen[str]] = []

    def run(name: str, config: Path | None) -> str:
        running.append(_start(name, config, installed, tmp_path_factory))
        return _printed(running[-1])

    with start_pool(default_config(time_scale=3)) as pool, ThreadPoolExecutor(2) as executor:
        config = tmp_path_factory.mktemp("pool") / "pool.yaml"
        config.write_text(yaml.safe_dump(pool.pool_config))
        texts: dict[str, Future[str]] = {}

        def text_of(name: str) -> str:
            if name not in texts:
                pytest.skip(f"{NEEDS[name]} is not installed")
            return texts[name].result()

        for name in filter(_can_run, NAMES):
            texts[name] = executor.submit(run, name, None if "explain" in name else config)
        try:
            yield text_of
        finally:
            executor.shutdown(cancel_futures=True, wait=False)
            for process in running:
                _stop(process)


def _can_run(name: str) -> bool:
    needed = NEEDS.get(name)
    return needed is None or (find_spec(needed.partition(".")[0]) is not None and find_spec(needed) is not None)


def _installed(site: Path) -> Path:
    """A folder for PYTHONPATH that announces the adapters, as an installed agentsched does."""
    info = site / "agentsched_of_the_tests-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: agentsched-of-the-tests\nVersion: 0\n")
    lines = [f"{name} = agentsched_{name}:install" for name in ADAPTERS]
    (info / "entry_points.txt").write_text("\n".join(["[agentsched.adapters]", *lines, ""]))
    return site


def _start(name: str, config: Path | None, installed: Path, folders: pytest.TempPathFactory) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if key != "AGENTSCHED_CONFIG"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "integrations", installed)))
    environment["LANGSMITH_TRACING"] = "false"
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
    assert 0.2 <= float(late.group(1)) < 3.0


def steps_in(text: str) -> list[str]:
    return re.findall(r"^  (\S.*?) +-> \S+$", text, re.MULTILINE)


def test_langgraph(output: Output) -> None:
    text = output("02_langgraph")
    assert steps_in(text) == ["plan", "research", "research", "research", "write"]


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


def test_langgraph_agent(output: Output) -> None:
    text = output("06_langgraph_agent")
    assert steps_in(text) == ["model", "model"]
    assert "with 0.3 s: workflow 'hurried'" in text


def test_crewai(output: Output) -> None:
    text = output("07_crewai")
    steps = steps_in(text)
    assert sorted(steps[:2]) == ["past/{topic} Historian", "present/Biologist"]
    assert steps[2:] == ["article/Writer"]
    assert "with 0.2 s: workflow 'hurried'" in text


def test_autogen(output: Output) -> None:
    text = output("08_autogen")
    steps = {
        name: re.findall(r"(\w+) on ", line) for name, line in re.findall(r"^  (\w+) (.* on .*)$", text, re.MULTILINE)
    }
    assert steps["debate"] == ["optimist", "pessimist", "optimist", "pessimist"]
    assert steps["article"][0] == "plan"
    assert sorted(steps["article"][1:3]) == ["past", "present"]
    assert steps["article"][3] == "write"
    assert "with 0.3 s: workflow 'hurried'" in text


def test_asgi_service(output: Output) -> None:
    text = output("09_asgi_service")
    run, left, caller = re.search(r"run (\w+): 3 parts .*\n  service: ([\d.]+) s were left of run (\w+)", text).groups()
    assert run == caller
    assert 0 < float(left) < 20
    short = text.partition("with 0.2s:")[2]
    assert "504: the caller's deadline has passed" in short or "ran out of time" in short


def test_resume_after_crash(output: Output) -> None:
    crash, again = output("10_resume_after_crash").split("again:")
    first, second = (float(re.search(r"([\d.]+) s left at the start", part).group(1)) for part in (crash, again))
    assert "the process dies" in crash
    assert "search, write: done" in again
    assert second < first - 0.5  # the time in between counts as well


def test_every_example_is_short_and_tested() -> None:
    assert [int(name[:2]) for name in NAMES] == list(range(1, 11))
    for name in NAMES:
        assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) < 80
