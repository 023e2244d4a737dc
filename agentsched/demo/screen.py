"""The demonstration in a terminal: progress while it runs, the comparison at the end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from agentsched.demo.plan import ARMS, DEADLINE, LOAD, PATIENCE, Arm, Plan
from agentsched.demo.pool import FASTEST, PROFILES
from agentsched.demo.results import ArmResult, Ended, Outcome
from agentsched.demo.table import FOOTNOTES, comparison_rows, ratio_heads

__all__ = ["LiveArms", "live_arms", "show_comparison", "show_plan"]


def show_plan(console: Console, plan: Plan) -> None:
    """Say what is going to happen, and by which rules."""
    pool = ", ".join(f"{name} {1000 * profile.step_base_s:.0f} ms/token" for name, profile in PROFILES.items())
    told = ": one LangGraph agent, three ways of calling one pool, same arrivals"
    console.print(Text.assemble(("agentsched demo", "bold"), told))
    console.print(f"  pool      {pool}")
    console.print(
        f"  load      {plan.workflows} workflows, {plan.rate_per_s:.2f}/s (Poisson, seed {plan.seed}), "
        f"{plan.calls_per_workflow:.1f} calls each: {plan.load:.0%} of what the pool can do (rule: {LOAD:.0%})"
    )
    console.print(
        f"  deadline  {plan.deadline_s:g} s for every workflow (rule: {DEADLINE:g} x {plan.idle_s:.2f} s, the median "
        f"case on an idle {FASTEST}); whoever asks gives up after {PATIENCE:g} deadlines"
    )
    console.print(f"  takes     up to {len(ARMS) * plan.longest_s + 15:.0f} s\n")


class LiveArms:
    """Progress of all arms."""

    def __init__(self, progress: Progress, plan: Plan) -> None:
        self._progress, self._plan = progress, plan
        self._bars: dict[Arm, TaskID] = {
            arm: progress.add_task(arm, total=plan.workflows, start=False, state="waiting") for arm in ARMS
        }
        self._met = self._ended = 0

    def begin(self, arm: Arm) -> None:
        """An arm starts."""
        self._met = self._ended = 0
        self._progress.start_task(self._bars[arm])
        self._progress.update(self._bars[arm], state="starting its pool and its agent")

    def ended(self, arm: Arm, ended: Ended) -> None:
        """A workflow of this arm has ended."""
        self._ended += 1
        self._met += ended.outcome == Outcome.ANSWERED and ended.latency_s <= self._plan.deadline_s
        state = f"{self._met} in time, {self._ended - self._met} not"
        self._progress.update(self._bars[arm], advance=1, state=state)

    def finish(self, arm: Arm) -> None:
        """The arm is over."""
        self._progress.stop_task(self._bars[arm])


@contextmanager
def live_arms(console: Console, plan: Plan) -> Iterator[LiveArms]:
    """Show progress while the block runs; a console that is no terminal gets the last state only."""
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}"),
    )
    # Few refreshes: the machine's cores belong to the pool and the agent.
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        yield LiveArms(progress, plan)


def show_comparison(console: Console, results: Sequence[ArmResult]) -> None:
    """Print the comparison."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for result in results:
        table.add_column(result.arm.replace(" ", "\n"), justify="right", no_wrap=True)
    for head in ratio_heads(results):
        table.add_column(head, justify="right", style="dim", no_wrap=True)
    for row in comparison_rows(results):
        table.add_row(row.label, *row.cells, *row.ratios)
    console.print(table)
    for note in FOOTNOTES:
        console.print(note, style="dim")
    for result in results:
        if not result.pacing.passed:
            told = (
                f": the emulator did not keep time ({result.pacing.chunks} chunks, P95 "
                f"{1000 * result.pacing.p95_s:.2f} ms off, allowed {1000 * result.pacing.allowed_s:.2f} ms), so there "
                "are no figures for this arm: free the machine's cores, or lower --rate"
            )
            console.print(Text.assemble((result.arm, "bold red"), told))
