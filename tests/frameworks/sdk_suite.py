"""The openai SDK's own test-suite, without and with agentsched: do the same tests pass?

    python tests/frameworks/sdk_suite.py CHECKOUT [--python PATH] [--mode run] [-- pytest's arguments]

CHECKOUT is one of the SDK's public repository; PATH an interpreter that has what the suite needs and what agentsched
needs (the SDK is taken from the checkout). The suite is executed twice, and every test with another outcome is printed.
What needs a mock server fails alike in both, as it does without one. The exit status is 1 if anything differs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = ["tests", "--ignore=tests/api_resources", "-q", "-n", "0", "-p", "no:cacheprovider"]
"""The tests below tests/api_resources need a mock server of OpenAI's whole API."""

ALONE = ["-q", "-n", "0", "-p", "no:cacheprovider"]
"""How tests that differ are executed a second time: some have timeouts that a busy machine misses now and then."""


def outcomes(checkout: Path, python: str, mode: str, arguments: list[str]) -> dict[str, str]:
    """Outcome by test."""
    with tempfile.TemporaryDirectory() as directory:
        record = Path(directory) / "outcomes.tsv"
        record.touch()
        paths = [checkout / "src", ROOT, ROOT / "integrations", ROOT / "tests" / "frameworks"]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "AGENTSCHED_SUITE": mode,
            "AGENTSCHED_SUITE_OUTCOMES": str(record),
        }
        command = [python, "-m", "pytest", "-p", "sdk_suite_plugin", *arguments]
        done = subprocess.run(command, cwd=checkout, env=environment, check=False, capture_output=True, text=True)
        lines = [line.split("\t") for line in record.read_text().splitlines()]
    if not lines:
        raise SystemExit(f"no test was executed ({mode}):\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return {name: f"{outcome} in {when}" for outcome, when, name in lines}


def _differing(plain: dict[str, str], ours: dict[str, str]) -> list[str]:
    return sorted(name for name in plain.keys() | ours.keys() if plain.get(name) != ours.get(name))


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--python", default=sys.executable, help="default: this one")
    parser.add_argument("--mode", choices=["instrumented", "run"], default="instrumented")
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    given = parser.parse_args(words[:split])
    if not (given.checkout / "src" / "openai").is_dir():
        parser.error(f"{given.checkout} is no checkout of the SDK: it has no src/openai")
    arguments = words[split + 1 :] or ARGUMENTS
    found: dict[str, dict[str, str]] = {}
    for mode in ("plain", given.mode):
        print(f"{mode} ...", file=sys.stderr, flush=True)
        found[mode] = outcomes(given.checkout.resolve(), given.python, mode, arguments)
        counts = Counter(outcome.split()[0] for outcome in found[mode].values())
        print(f"{mode}: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
    plain, ours = found["plain"], found[given.mode]
    differing = _differing(plain, ours)
    if differing:
        print(f"{len(differing)} tests differ; once more, alone ...", file=sys.stderr, flush=True)
        for mode in ("plain", given.mode):
            found[mode] |= outcomes(given.checkout.resolve(), given.python, mode, [*differing, *ALONE])
        differing = _differing(plain, ours)
    for name in differing:
        print(f"  {name}: {plain.get(name, 'not executed')} without, {ours.get(name, 'not executed')} with")
    print(f"{len(differing)} tests differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
