"""``agentsched demo``: an agent workflow with and without deadlines, side by side, in under three minutes."""

import json
import tempfile
import webbrowser
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from agentsched.cli.output import json_option, people, print_json, progress
from agentsched.demo.arms import LOG_FILE
from agentsched.demo.comparison import compare, document, require_packages
from agentsched.demo.plan import DEADLINE, LOAD, Plan, make_plan
from agentsched.demo.results import ArmResult
from agentsched.demo.screen import live_arms, show_comparison, show_plan

__all__ = ["command"]

_PAGE, _DOCUMENT = "demo.html", "demo.json"


@click.command("demo")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of questions and arrivals.")
@click.option("--workflows", type=click.IntRange(1, 2000), help="How many arrive; by default, half a minute's worth.")
@click.option(
    "--rate",
    type=click.FloatRange(0.01, 50),
    help=f"Workflows per second; by default {LOAD:.0%} of what the pool can do.",
)
@click.option(
    "--deadline", type=click.FloatRange(0.1, 600), help=f"Seconds; by default {DEADLINE:g} times the idle median."
)
@click.option("--quick", is_flag=True, help="Fewer workflows: for a first look, not for figures.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Keep page, JSON, pool.yaml and log here."
)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the page to this file.")
@click.option("--no-browser", is_flag=True, help="Do not open the page.")
@json_option
def command(
    seed: int,
    workflows: int | None,
    rate: float | None,
    deadline: float | None,
    quick: bool,
    out: Path | None,
    html: Path | None,
    no_browser: bool,
    as_json: bool,
) -> None:
    """Run one LangGraph agent three times against an embedded pool of four unequal endpoints.

    Undecorated on the fastest endpoint, undecorated round robin, and decorated with a deadline: same questions, same
    arrivals, same clock. Ends with status 1 if the emulator did not keep time in some arm.
    """
    require_packages()
    plan = make_plan(seed=seed, workflows=workflows, rate_per_s=rate, deadline_s=deadline, quick=quick)
    with ExitStack() as stack:
        kept = out is not None
        directory = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentsched-demo-")))
        directory.mkdir(parents=True, exist_ok=True)
        (directory / LOG_FILE).unlink(missing_ok=True)
        show_plan(progress(), plan)
        with live_arms(progress(), plan) as watcher:
            results = compare(plan, directory, watcher)
    page = _write_page(plan, results, html or (directory / _PAGE if kept else None))
    found = document(plan, results)
    if kept:
        (directory / _DOCUMENT).write_text(json.dumps(found, indent=1, allow_nan=False), encoding="utf-8")
    if as_json:
        print_json(found)
    else:
        show_comparison(people(), results)
        _tell(page, directory if kept else None, found["same_answers"])
        if not no_browser and people().is_terminal:
            webbrowser.open(page.resolve().as_uri())
    if not all(result.pacing.passed for result in results):
        raise click.exceptions.Exit(1)


def _write_page(plan: Plan, results: Sequence[ArmResult], path: Path | None) -> Path:
    from agentsched.demo.page import comparison_page  # matplotlib takes a second to import: after the arms  # noqa: PLC0415

    if path is None:
        path = Path(tempfile.mkdtemp(prefix="agentsched-demo-page-")) / _PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(comparison_page(plan, results), encoding="utf-8")
    return path


def _tell(page: Path, directory: Path | None, same: bool) -> None:
    console = people()
    verdict = "the same" if same else "NOT the same"
    console.print(f"Workflows answered in several arms were answered with {verdict} text.")
    console.print(f"page: {page}", soft_wrap=True)
    if directory is not None:
        console.print(f"where a deadline went: agentsched explain worst --log {directory / LOG_FILE}", soft_wrap=True)
