"""``agentsched bench``: measurements that anybody can repeat, with the promises they are compared with."""

import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from agentsched.bench.adapter_programs import ADAPTED
from agentsched.bench.adapters import Options as AdapterOptions
from agentsched.bench.adapters import measure as measure_adapters
from agentsched.bench.adapters_report import adapter_bars, adapter_document, adapter_notes, adapter_sheets
from agentsched.bench.decide import Options as DecideOptions
from agentsched.bench.decide import measure as measure_decisions
from agentsched.bench.decide_report import decide_bars, decide_document, decide_sheets
from agentsched.bench.fault_cases import FAULTS
from agentsched.bench.fault_clients import CLIENTS
from agentsched.bench.fault_report import broken_lines, fault_bars, fault_document, fault_sheets
from agentsched.bench.faults import OURS, run_faults
from agentsched.bench.faults import Options as FaultOptions
from agentsched.bench.forecasting import Options as ForecastingOptions
from agentsched.bench.forecasting import measure as measure_forecasts
from agentsched.bench.forecasting_report import forecasting_bars, forecasting_document, forecasting_sheets
from agentsched.bench.fronts import FRONTS
from agentsched.bench.overhead import MODES, measure
from agentsched.bench.overhead import Options as OverheadOptions
from agentsched.bench.overhead_report import overhead_bars, overhead_document, overhead_sheet
from agentsched.bench.promise_report import missed_lines, promise_bars, promise_document, promise_sheet
from agentsched.bench.promise_rows import ROWS
from agentsched.bench.promises import Options as PromiseOptions
from agentsched.bench.promises import run_promises
from agentsched.bench.sharing import Options as SharingOptions
from agentsched.bench.sharing import arms_of
from agentsched.bench.sharing import measure as measure_sharing
from agentsched.bench.sharing_report import sharing_bars, sharing_document, sharing_sheet
from agentsched.bench.sheets import Bar, Sheet, bar_lines, drawn, markdown_section, write_section
from agentsched.cli.output import json_option, people, print_json, progress
from agentsched.policy.table import POLICIES, make_policy

__all__ = ["command"]

_WIDTH = 160
_QUICK_CALLS, _QUICK_ROUNDS = 32, 3
_SHORTEST_S, _LONGEST_S = 0.1, 600.0


@click.group("bench")
def command() -> None:
    """Measure what a call costs, and what the user gets when endpoints misbehave."""


def _names(allowed: Sequence[str]) -> Callable[[click.Context, click.Parameter, str], tuple[str, ...]]:
    """What reads an option as names from a list, separated by commas; all of them by default."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
        given = tuple(allowed) if value is None else tuple(name.strip() for name in value.split(","))
        for name in given:
            if name not in allowed:
                raise click.BadParameter(f"{name!r} is not one of {', '.join(allowed)}", ctx, param)
        return given

    return read


def _numbers(
    least: float, most: float, what: str = "numbers"
) -> Callable[[click.Context, click.Parameter, str], tuple[float, ...]]:
    """What reads an option as numbers within bounds, separated by commas."""

    def read(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, ...]:
        try:
            given = tuple(float(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r} is no list of {what}", ctx, param) from None
        if not all(least <= number <= most for number in given):
            raise click.BadParameter(f"{value!r} has {what} outside {least:g} to {most:g}", ctx, param)
        return given

    return read


_seconds = _numbers(_SHORTEST_S, _LONGEST_S, "seconds")

_markdown_option = click.option(
    "--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures into this file as well."
)
_check_option = click.option("--check", is_flag=True, help="End with status 1 if a promise of ours is missed.")


@command.command("overhead")
@click.option("--calls", type=click.IntRange(1, 100_000), default=256, show_default=True, help="Per front and round.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=7, show_default=True, help="Turns of every front.")
@click.option("--prompt-tokens", type=click.IntRange(4, 200_000), default=2000, show_default=True)
@click.option("--chunks", type=click.IntRange(1, 10_000), default=60, show_default=True, help="Tokens of an answer.")
@click.option("--gap-ms", type=click.FloatRange(0, 1000), default=2.0, show_default=True, help="Between two chunks.")
@click.option("--fronts", callback=_names(tuple(FRONTS)), help=f"Some of {','.join(FRONTS)}.")
@click.option(
    "--modes", multiple=True, type=click.Choice([mode.name for mode in MODES]), help="Only these; repeatable."
)
@click.option("--quick", is_flag=True, help="Few calls and rounds: to see that it works, not for figures.")
@_check_option
@_markdown_option
@json_option
def overhead(
    calls: int,
    rounds: int,
    prompt_tokens: int,
    chunks: int,
    gap_ms: float,
    fronts: tuple[str, ...],
    modes: tuple[str, ...],
    quick: bool,
    check: bool,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """CPU and wall time per call beside the plain SDK, ChatOpenAI and litellm.Router, all in one run.

    Every front asks the same questions of one local server in another process, in turns; each is compared with the
    plain SDK of the same round. Leave the machine alone meanwhile.
    """
    options = OverheadOptions(
        calls=_QUICK_CALLS if quick else calls,
        rounds=_QUICK_ROUNDS if quick else rounds,
        prompt_tokens=prompt_tokens,
        chunks=chunks,
        gap_s=gap_ms * 1e-3,
        fronts=fronts,
        modes=tuple(mode for mode in MODES if not modes or mode.name in modes),
    )
    with progress().status("starting") as status:
        result = measure(options, status.update)
    sheets, bars = [overhead_sheet(result)], overhead_bars(result)
    _tell(sheets, bars, [], overhead_document(result) if as_json else None)
    _keep(markdown, "overhead", sheets, bars, [])
    _end(check, bars)


@command.command("faults")
@click.option("--deadline", callback=_seconds, default="2", show_default=True, help="Seconds, separated by commas.")
@click.option("--clients", callback=_names(tuple(CLIENTS)), help=f"Some of {','.join(CLIENTS)}.")
@click.option("--case", "cases", multiple=True, type=click.Choice(list(FAULTS)), help="Only these; repeatable.")
@click.option("--at-once", type=click.IntRange(1, 256), default=24, show_default=True, help="Calls side by side.")
@click.option("--quick", is_flag=True, help="Only ours, and only endpoints that nothing is known about.")
@_check_option
@_markdown_option
@json_option
def faults(
    deadline: tuple[float, ...],
    clients: tuple[str, ...],
    cases: tuple[str, ...],
    at_once: int,
    quick: bool,
    check: bool,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Seconds until the user has an answer or an error, whatever is wrong with the endpoint that is asked first.

    Each case is tried sync and async, streamed and whole, with that endpoint alone and with a healthy second one, for
    the openai SDK, litellm.Router and ours.
    """
    options = FaultOptions(
        deadlines_s=deadline,
        clients=(OURS,) if quick else clients,
        cases=cases or tuple(FAULTS),
        at_once=at_once,
        warmed=(False,) if quick else (False, True),
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=progress(), transient=True) as shown:
        tasks = {name: shown.add_task(name, total=None) for name in options.clients}
        result = run_faults(options, lambda name, done, total: shown.update(tasks[name], completed=done, total=total))
    sheets, bars, broken = fault_sheets(result), fault_bars(result), broken_lines(result)
    notes = [*broken, *(f"{name}: {why}" for name, why in result.missing.items())]
    _tell(sheets, bars, notes, fault_document(result) if as_json else None)
    _keep(markdown, "faults", sheets, bars, notes)
    _end(check, bars)


@command.command("decide")
@click.option("--endpoints", callback=_numbers(1, 4096), default="13,64,512", show_default=True, help="Pool sizes.")
@click.option("--policies", callback=_names(sorted(POLICIES)), help=f"Some of {','.join(sorted(POLICIES))}.")
@click.option("--decisions", type=click.IntRange(100, 1_000_000), default=2000, show_default=True)
@click.option(
    "--rates", callback=_numbers(1, 1e6), default="1000,3000,10000", show_default=True, help="Calls per second."
)
@click.option("--in-flight", type=click.IntRange(1, 256), default=4, show_default=True, help="Per endpoint.")
@_check_option
@_markdown_option
@json_option
def decide(
    endpoints: tuple[float, ...],
    policies: tuple[str, ...],
    decisions: int,
    rates: tuple[float, ...],
    in_flight: int,
    check: bool,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """CPU per decision, answer, report of progress and look at the clocks, by pool size and policy.

    The scheduler is the one that runs live, on virtual time, with a steady number of calls in flight. What calls wait
    for their decisions at a rate is worked out from these times, as if one thread did nothing else.
    """
    options = DecideOptions(
        endpoints=tuple(int(size) for size in endpoints),
        policies=tuple((name, partial(make_policy, name)) for name in policies),
        decisions=decisions,
        rates=rates,
        in_flight=in_flight,
    )
    with progress().status("starting") as status:
        result = measure_decisions(options, status.update)
    sheets, bars = decide_sheets(result), decide_bars(result)
    _tell(sheets, bars, [], decide_document(result) if as_json else None)
    _keep(markdown, "decide", sheets, bars, [])
    _end(check, bars)


@command.command("forecast")
@click.option(
    "--calls", type=click.IntRange(100, 10_000_000), default=20_000, show_default=True, help="Learned beforehand."
)
@click.option("--endpoints", type=click.IntRange(1, 4096), default=13, show_default=True)
@click.option(
    "--watch", callback=_seconds, default="5", show_default=True, help="Seconds an event loop is watched, per arm."
)
@_check_option
@_markdown_option
@json_option
def forecast(
    calls: int, endpoints: int, watch: tuple[float, ...], check: bool, markdown: Path | None, as_json: bool
) -> None:
    """CPU per forecast, lesson and prompt, memory, and what an event loop feels of learning beside it.

    The memory of a million calls takes --calls 1000000, some six minutes.
    """
    options = ForecastingOptions(calls=calls, endpoints=endpoints, lag_s=watch[0])
    with progress().status("starting") as status:
        result = measure_forecasts(options, status.update)
    sheets, bars = forecasting_sheets(result), forecasting_bars(result)
    _tell(sheets, bars, [], forecasting_document(result) if as_json else None)
    _keep(markdown, "forecast", sheets, bars, [])
    _end(check, bars)


@command.command("clients")
@click.option("--runs", type=click.IntRange(10, 100_000), default=1000, show_default=True, help="Of each arm.")
@click.option("--rate", type=click.FloatRange(0.1, 1000), default=4.0, show_default=True, help="Runs per second.")
@click.option("--deadline", type=click.FloatRange(0.5, 600), default=8.0, show_default=True, help="Seconds.")
@click.option("--processes", type=click.IntRange(2, 64), default=8, show_default=True)
@click.option("--backend", type=click.Choice(["sqlite", "redis"]), default="sqlite", show_default=True)
@click.option("--url", help="Of the Redis server; one is started for the bench if it is left out.")
@click.option("--outage", is_flag=True, help="Also with the Redis server dead for the middle third.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@_check_option
@_markdown_option
@json_option
def clients(
    runs: int,
    rate: float,
    deadline: float,
    processes: int,
    backend: str,
    url: str | None,
    outage: bool,
    seed: int,
    check: bool,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Runs in time when one process uses an emulated pool, when several do, and when these share what they know.

    Every arm makes the same runs at the same instants, on a fresh pool.
    """
    options = SharingOptions(runs, rate, deadline, processes, backend, url, outage, seed)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=progress(), transient=True) as shown:
        tasks = {arm.name: shown.add_task(arm.name, total=runs) for arm in arms_of(options)}
        result = measure_sharing(
            options, lambda name, done, total: shown.update(tasks[name], completed=done, total=total)
        )
    sheets, bars = [sharing_sheet(result)], sharing_bars(result)
    _tell(sheets, bars, [], sharing_document(result) if as_json else None)
    _keep(markdown, "clients", sheets, bars, [])
    _end(check, bars)


@command.command("promises")
@click.option("--only", callback=_names(tuple(ROWS)), help=f"Some of {','.join(ROWS)}.")
@click.option(
    "--patience",
    type=click.FloatRange(1, 600),
    default=30.0,
    show_default=True,
    help="Seconds after which a program is given up.",
)
@_check_option
@_markdown_option
@json_option
def promises(only: tuple[str, ...], patience: float, check: bool, markdown: Path | None, as_json: bool) -> None:
    """What becomes of the time limits that users set in litellm, the openai SDK, CrewAI, LangGraph and AutoGen.

    Each program runs twice against the same kinds of local endpoints: as it is, and decorated with its limit as the
    deadline. Rows whose package is not installed are left out, and said. It takes about three minutes.
    """
    with progress().status("starting") as status:
        result = run_promises(PromiseOptions(only, patience), status.update)
    sheets, bars, notes = [promise_sheet(result)], promise_bars(result), missed_lines(result)
    _tell(sheets, bars, notes, promise_document(result) if as_json else None)
    _keep(markdown, "promises", sheets, bars, notes)
    _end(check, bars)


@command.command("adapters")
@click.option("--only", callback=_names(tuple(ADAPTED)), help=f"Some of {','.join(ADAPTED)}.")
@click.option("--imports", type=click.IntRange(1, 1000), default=7, show_default=True, help="New processes per way.")
@click.option("--calls", type=click.IntRange(10, 100_000), default=200, show_default=True, help="Per round.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=15, show_default=True, help="Turns of every program.")
@_check_option
@_markdown_option
@json_option
def adapters(
    only: tuple[str, ...], imports: int, calls: int, rounds: int, check: bool, markdown: Path | None, as_json: bool
) -> None:
    """What the adapters of LangGraph, CrewAI and AutoGen add to importing these, and to each model call.

    Frameworks that are not installed are left out, and said. It takes about two minutes, most of it CrewAI's import.
    """
    with progress().status("starting") as status:
        result = measure_adapters(AdapterOptions(only, imports, calls, rounds), status.update)
    sheets, bars, notes = adapter_sheets(result), adapter_bars(result), adapter_notes(result)
    _tell(sheets, bars, notes, adapter_document(result) if as_json else None)
    _keep(markdown, "adapters", sheets, bars, notes)
    _end(check, bars)


def _tell(sheets: Sequence[Sheet], bars: Sequence[Bar], notes: Sequence[str], document: object) -> None:
    if document is not None:
        print_json(document)
        return
    console = people(pipe_width=_WIDTH)
    for sheet in sheets:
        console.print(drawn(sheet))
    for line in (*bar_lines(bars), *notes):
        console.print(line, soft_wrap=True, markup=False)


def _keep(path: Path | None, name: str, sheets: Sequence[Sheet], bars: Sequence[Bar], notes: Sequence[str]) -> None:
    if path is not None:
        words = ["agentsched", *sys.argv[1:]]
        write_section(path, name, markdown_section(shlex.join(words), sheets, bars, notes))


def _end(check: bool, bars: Sequence[Bar]) -> None:
    if check and any(bar.met is False for bar in bars):
        raise click.exceptions.Exit(1)
