"""One command that checks all: ``python -m tests`` installs what it needs into the current environment and runs the
fast suite; further sessions make virtual environments of their own.

    python -m tests               format, lint, types, import contracts, fast tests, in the current environment
    python -m tests openai2       the suite against the locked set with openai 2 (httpx)
    python -m tests openai3       the suite against the locked set with openai 3 (httpx2)
    python -m tests extras        every extra alone in a clean environment, and all of them together
    python -m tests langchain     LangChain's own tests of chat models, for the explicit chat model
    python -m tests compiled      the rooms whose modules hatch_build.py compiles; skipped without a C compiler
    python -m tests frameworks    every framework by every way of calling a model: the table of docs/frameworks.md
    python -m tests torch         the tests of training, which are skipped where torch is not installed
    python -m tests fuzz          the long property-based tests
    python -m tests real-engine   the same workflow on real llama.cpp servers (downloads about 200 MB of packages)
    python -m tests all           all of the above but real-engine, and torch, which is a part of extras

Many tests have real servers, threads and clocks, and the machine may be anybody's: when up to three tests of a suite
fail, these are run once more, alone, and named at the end. More failures, or the same again, fail the session.

Only the standard library is needed to start it.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venvs"
LOCKS = ROOT / "tests" / "locks"
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
"""On a busy machine the threads of linear algebra wait for each other for seconds; matrices in tests are small."""

TESTS_FAILED = 1
"""What pytest exits with when tests failed, and nothing else is wrong."""

REPEATED = 3
"""So many failed tests of one suite are run a second time; more are no accident."""

TOGETHER = "langgraph,crewai,autogen"
"""Extras that also have to go together."""


def run(*command: str | os.PathLike[str], cwd: Path | None = None, **environment: str) -> None:
    """Run a command, from the top of the checkout if nothing else is said; the session fails with it."""
    print("$", " ".join(str(part) for part in command), flush=True)
    subprocess.run(command, cwd=cwd or ROOT, check=True, env=_ENVIRONMENT | os.environ | environment)


def fast(python: str = sys.executable) -> None:
    """Format, lint, types, import contracts and the fast tests."""
    run(python, "-m", "pip", "install", "--quiet", "-e", ".[dev]")
    run(python, "-m", "ruff", "format", "--check", ".")
    run(python, "-m", "ruff", "check", ".")
    run(python, "-m", "mypy")
    run(python, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")
    pytest(python)


def pytest(python: str, *arguments: str, cwd: Path | None = None) -> None:
    """The fast tests; the few that fail once more."""
    cache = ROOT / ".pytest_cache" / Path(python).parent.parent.name
    shutil.rmtree(cache, ignore_errors=True)
    command = (
        python,
        "-m",
        "pytest",
        "-q",
        "-m",
        "not fuzz and not real_engine",
        "-o",
        f"cache_dir={cache}",
        *arguments,
    )
    try:
        run(*command, cwd=cwd)
    except subprocess.CalledProcessError as error:
        failed = _last_failed(cache)
        if error.returncode != TESTS_FAILED or not 0 < len(failed) <= REPEATED:
            raise
        run(*command, "--last-failed", cwd=cwd)
        print("passed only when repeated:", *failed, sep="\n  ", flush=True)


def _last_failed(cache: Path) -> list[str]:
    """The tests that pytest has written down as failed."""
    file = cache / "v" / "cache" / "lastfailed"
    return list(json.loads(file.read_text())) if file.exists() else []


def locked(name: str) -> Callable[[], None]:
    """A session that runs the suite against one of the locked sets."""

    def session() -> None:
        python = fresh_environment(name)
        run(python, "-m", "pip", "install", "--quiet", "-r", LOCKS / f"{name}.txt")
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", "-e", ".")
        pytest(python)

    session.__doc__ = f"The fast tests against tests/locks/{name}.txt."
    return session


def extras() -> None:
    """Every extra installs alone into a clean environment, and works as far as importing goes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in ("", *project["optional-dependencies"], TOGETHER):
        python = fresh_environment("extra")
        run(python, "-m", "pip", "install", "--quiet", f".[{extra}]" if extra else ".")
        run(python, "-m", "pip", "check")
        run(
            python,
            "-c",
            "import agentsched; [getattr(agentsched, name) for name in PUBLIC]".replace("PUBLIC", _public(extra)),
        )
        run(python, "-m", "agentsched", "--help")
        if extra == "torch":  # so large that it is not installed twice
            _training(python)


def torch() -> None:
    """The tests of training with torch, in an environment of their own."""
    python = fresh_environment("torch")
    run(python, "-m", "pip", "install", "--quiet", "-e", ".[torch]")
    _training(python)


def _training(python: str) -> None:
    run(python, "-m", "pip", "install", "--quiet", "-e", ".[dev]")
    run(python, "-c", "import torch; print('torch', torch.__version__)")
    pytest(python, "tests/training")


def _public(extra: str) -> str:
    """The public names that must resolve with this extra: the SDK's wrappers need the SDK."""
    with_sdk = extra in (TOGETHER, "openai", "langgraph", "crewai", "autogen", "demo", "bench", "all", "dev")
    return "agentsched.__all__" if with_sdk else "set(agentsched.__all__) - {'OpenAI', 'AsyncOpenAI'}"


def langchain() -> None:
    """LangChain's own tests of chat models: their pytest plugins stay out of the other environments."""
    python = fresh_environment("langchain")
    run(python, "-m", "pip", "install", "--quiet", "-r", LOCKS / "openai3.txt", "langchain-tests>=1.1")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "-e", ".")
    pytest(python, "tests/integrations/langchain")


def compiled() -> None:
    """The tests of what hatch_build.py compiles, from a place where the sources are not to be found."""
    headers = Path(sysconfig.get_path("include"), "Python.h").exists()
    if not headers or not any(map(shutil.which, ("cc", "gcc", "clang"))):
        print("there is no C compiler, or no Python.h: nothing is compiled, nothing tested", flush=True)
        return
    python = fresh_environment("compiled")
    run(python, "-m", "pip", "install", "--quiet", ".[dev]", HATCH_BUILD_HOOK_ENABLE_CUSTOM="1")
    place = Path(python).parents[1] / "checkout"
    place.mkdir()
    for name in ("tests", "examples", "docs", "integrations", "pyproject.toml", "README.md"):
        (place / name).symlink_to(ROOT / name)
    run(python, "-c", _IS_COMPILED, cwd=place)
    rooms = ("engine", "scheduler", "policy", "sim", "testing", "emulator", "dispatch", "bench", "demo")
    pytest(python, *(f"tests/{room}" for room in rooms), cwd=place)


_IS_COMPILED = """
from agentsched.engine import instance
from agentsched.scheduler import recording, scheduler
from agentsched.sim import timeline
for module in instance, scheduler, timeline:
    assert not module.__file__.endswith(".py"), f"{module.__file__} is not compiled"
assert recording.__file__.endswith(".py")
"""


def frameworks() -> None:
    """The matrix: frameworks that go with the lock of openai 2, those that go with that of openai 3, and the rest."""
    pythons: list[str] = []
    for name in ("openai2", "openai3", "more"):
        python = fresh_environment(f"frameworks-{name}")
        lock, wanted = LOCKS / f"{name}.txt", ROOT / "tests" / "frameworks" / f"requirements-{name}.txt"
        if lock.exists():
            wanted = _merged(lock, wanted, Path(python).parents[1])
        run(python, "-m", "pip", "install", "--quiet", "-r", wanted)
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", "-e", ".")
        pythons += ["--python", python]
    run(sys.executable, "tests/frameworks/matrix.py", *pythons)


def _merged(lock: Path, more: Path, place: Path) -> Path:
    """A file in ``place`` with the requirements of both; of a package that both name, those of ``more``."""
    theirs = [line for line in more.read_text().splitlines() if "==" in line]
    named = {line.partition("==")[0] for line in theirs}
    kept = [line for line in lock.read_text().splitlines() if line.partition("==")[0] not in named]
    merged = place / "requirements.txt"
    merged.write_text("\n".join([*kept, *theirs, ""]))
    return merged


def fuzz() -> None:
    """The long property-based tests, in the current environment."""
    run(sys.executable, "-m", "pip", "install", "--quiet", "-e", ".[dev]")
    run(sys.executable, "-m", "pytest", "-q", "-m", "fuzz", "--timeout", "1800")


def real_engine() -> None:
    """The example on real llama.cpp servers, and answers that go on from one of them to another."""
    run(sys.executable, "-m", "pip", "install", "--quiet", "-e", ".[dev]")
    run(sys.executable, "examples/llama_cpp/run.py")
    run(sys.executable, "examples/llama_cpp/seam.py")


def fresh_environment(name: str) -> str:
    """A new virtual environment; answers its Python."""
    place = ENVIRONMENTS / name
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=True)
    return str(place / "bin" / "python")


SESSIONS: dict[str, Callable[[], None]] = {
    "fast": fast,
    "openai2": locked("openai2"),
    "openai3": locked("openai3"),
    "extras": extras,
    "langchain": langchain,
    "compiled": compiled,
    "frameworks": frameworks,
    "torch": torch,
    "fuzz": fuzz,
    "real-engine": real_engine,
}


def main(arguments: list[str]) -> int:
    """Run the named sessions, ``fast`` if none is named."""
    if "-h" in arguments or "--help" in arguments:
        print(__doc__)
        return 0
    everything = [name for name in SESSIONS if name not in ("torch", "real-engine")]
    names = everything if arguments == ["all"] else arguments or ["fast"]
    unknown = [name for name in names if name not in SESSIONS]
    if unknown:
        print(f"unknown session {unknown[0]!r}; allowed: {', '.join(SESSIONS)}, all", file=sys.stderr)
        return 2
    for name in names:
        began = time.monotonic()
        try:
            SESSIONS[name]()
        except subprocess.CalledProcessError as error:
            print(f"session {name} failed ({error})", file=sys.stderr)
            return 1
        print(f"session {name} passed in {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
