"""Every framework, by every way of calling a model: were the calls caught, and in the right run and step?

    python tests/frameworks/matrix.py                                   with this interpreter
    python tests/frameworks/matrix.py --python A/bin/python --python B/bin/python --write
    python tests/frameworks/matrix.py --only crewai --only autogen

Each framework is executed in every given interpreter that has it, in a process of its own (`harness.py`), and the
results are printed as a table; ``--write`` puts them into docs/frameworks.md. The exit status is 1 if a call was lost.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "docs" / "frameworks.md"
BEGIN, END = "<!-- matrix: begin -->", "<!-- matrix: end -->"
TIMEOUT_S = 300

NEEDS = {
    "langgraph": "langgraph",
    "crewai": "crewai",
    "autogen": "autogen_agentchat",
    "sdk": "openai",
    "litellm": "litellm",
    "openai_agents": "agents",
    "pydantic_ai": "pydantic_ai",
    "llama_index": "llama_index.llms.openai",
    "smolagents": "smolagents",
    "dspy": "dspy",
    "ag2": "ag2",
    "agent_framework": "agent_framework",
    "deepagents": "deepagents",
    "haystack": "haystack",
    "agno": "agno",
    "strands": "strands",
    "semantic_kernel": "semantic_kernel",
    "instructor": "instructor",
}
"""The module that a program of `programs/` cannot do without."""

COLUMNS = ("sync", "sync stream", "async", "async stream", "threads", "gather", "own")


@dataclass(frozen=True)
class Row:
    """One framework in one interpreter.

    Attributes:
        title: framework, its version, that of the SDK.
        cells: the results of the harness.
    """

    title: str
    cells: tuple[dict[str, Any], ...]

    @property
    def lost(self) -> list[str]:
        """What went wrong, by cell."""
        return [f"{cell['cell']}: {_verdict(cell)}" for cell in self.cells if "made" in cell and not _whole(cell)]

    def column(self, name: str) -> str:
        """``12/12``: calls that were attributed, of those that were made; ``-`` where there is nothing to measure."""
        cells = [cell for cell in self.cells if "made" in cell and _column(cell["cell"]) == name]
        if not cells:
            return "-"
        return f"{sum(cell['attributed'] for cell in cells)}/{sum(cell['made'] for cell in cells)}"


def _column(cell: str) -> str:
    """The column that a cell is counted in."""
    if cell.endswith((", threads", ", executor", ", to_thread")):
        return "threads"
    return "gather" if cell.endswith(", gather") else cell if cell in COLUMNS else "own"


def _whole(cell: dict[str, Any]) -> bool:
    return bool(cell["made"] == cell["caught"] == cell["attributed"] and cell["error"] is None)


def _verdict(cell: dict[str, Any]) -> str:
    steps = f", steps {', '.join(cell['other_steps'])}" if cell.get("other_steps") else ""
    counts = f"made {cell['made']}, caught {cell['caught']}, attributed {cell['attributed']}{steps}"
    return counts if cell["error"] is None else f"{counts}; {cell['error']}"


def rows(pythons: list[str], only: list[str]) -> Iterator[Row]:
    """Execute what is installed; says on standard error what it is doing."""
    for name in only or NEEDS:
        found = False
        for python in pythons:
            if _has(python, NEEDS[name]):
                found = True
                print(f"{name} in {python} ...", file=sys.stderr, flush=True)
                yield _execute(python, name)
        if not found:
            print(f"{name}: in none of the interpreters", file=sys.stderr)


def _has(python: str, module: str) -> bool:
    code = f"import importlib.util as u; raise SystemExit(u.find_spec({module.split('.')[0]!r}) is None)"
    if subprocess.run([python, "-c", code], check=False).returncode:
        return False
    return subprocess.run([python, "-c", f"import {module}"], check=False, capture_output=True).returncode == 0


def _execute(python: str, name: str) -> Row:
    command = [python, str(HERE / "harness.py"), name]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
    cells = tuple(json.loads(line) for line in done.stdout.splitlines())
    if done.returncode or not cells:
        ended = f"ended with status {done.returncode} after {len(cells)} cells"
        raise SystemExit(f"{' '.join(command)} {ended}:\n{done.stderr[-3000:]}")
    first = cells[0]
    return Row(f"{first['framework']} {first['version']}, openai {first['openai']}", cells)


def table(results: list[Row]) -> str:
    """The matrix as Markdown."""
    lines = [
        "| framework | " + " | ".join(COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
        *("| " + " | ".join([row.title, *map(row.column, COLUMNS)]) + " |" for row in results),
    ]
    own = [f"- {row.title}: {', '.join(names)}" for row in results if (names := _own(row))]
    missing = [f"- {row.title}: {_missing(row)}" for row in results if any("missing" in cell for cell in row.cells)]
    lost = [f"- {row.title}, {text}" for row in results for text in row.lost]
    calls = sum(cell["made"] for row in results for cell in row.cells if "made" in cell)
    attributed = sum(cell["attributed"] for row in results for cell in row.cells if "made" in cell)
    lines += ["", f"Calls made: {calls}; attributed to the right run and step: {attributed}."]
    for title, items in (("Own ways", own), ("No such way", missing), ("Lost", lost)):
        if items:
            lines += ["", f"{title}:", "", *items]
    return "\n".join(lines)


def _own(row: Row) -> list[str]:
    return [cell["cell"] for cell in row.cells if "made" in cell and _column(cell["cell"]) == "own"]


def _missing(row: Row) -> str:
    return "; ".join(f"{cell['cell']} ({cell['missing']})" for cell in row.cells if "missing" in cell)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", metavar="PATH", help="an interpreter; may be repeated")
    parser.add_argument("--only", action="append", choices=sorted(NEEDS), help="a framework; may be repeated")
    parser.add_argument("--write", action="store_true", help="put the table into docs/frameworks.md")
    parser.add_argument("--json", action="store_true", help="print every cell as JSON instead of the table")
    arguments = parser.parse_args()
    found = rows(arguments.python or [sys.executable], arguments.only or [])
    results = list({row.title: row for row in found}.values())  # several interpreters may have the same versions
    if arguments.json:
        print(json.dumps([cell for row in results for cell in row.cells], indent=1))
    else:
        print(table(results))
    if arguments.write:
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{rest.partition(END)[2]}")
    return 1 if not results or any(row.lost for row in results) else 0


if __name__ == "__main__":
    sys.exit(main())
