"""``agentsched forecast``: how good forecasts are on recorded calls, and what is believed after them."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from agentsched.cli.forecast_bars import command as bars_command
from agentsched.cli.forecast_data import DATA_HELP, data_argument, traced
from agentsched.cli.forecast_remainder import command as remainder_command
from agentsched.cli.forecast_stored import command as stored_command
from agentsched.cli.output import json_option, people, print_json, progress
from agentsched.core.duration import parse_duration
from agentsched.errors import ConfigError
from agentsched.evaluation.baselines import boosting_package
from agentsched.evaluation.beliefs import StepBelief, beliefs_of, learned_from
from agentsched.evaluation.length_report import LengthReport, WorkflowScores
from agentsched.evaluation.lengths import evaluate_online, evaluate_split, examples_of
from agentsched.evaluation.prompts import load_embedder
from agentsched.evaluation.scores import Scores
from agentsched.evaluation.trace import TraceRun
from agentsched.forecast.quantile_net import TrainedLengths
from agentsched.training.examples import Examples
from agentsched.training.weight_files import load_weights, save_weights

__all__ = ["command"]


@click.group("forecast")
def command() -> None:
    """Judge forecasts of output lengths on recorded calls, and show what is learned from them."""


command.add_command(remainder_command)
command.add_command(stored_command)
command.add_command(bars_command)


# -- eval ------------------------------------------------------------------------------------------------------------


@command.command("eval", epilog=DATA_HELP)
@data_argument
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write reliability plots (SVG) there.")
@click.option("--limit", type=click.IntRange(1), help="Look at the first so many conversations only.")
@click.option("--boosting/--no-boosting", default=True, help="Compare with gradient-boosted trees, if installed.")
@click.option("--networks", is_flag=True, help="Train the quantile network and the gated experts too (needs torch).")
@click.option("--embeddings", metavar="MODULE:NAME", help="Tell what trees gain by these vectors of prompts too.")
@json_option
def evaluate(
    data: tuple[Path, ...],
    out: Path | None,
    limit: int | None,
    boosting: bool,
    networks: bool,
    embeddings: str | None,
    as_json: bool,
) -> None:
    """Forecast every output length in DATA from the calls before it, and compare with simple forecasters.

    Told are the pinball loss and the coverage at .5, .9 and .99, and the median absolute error: online, each call
    learned once it was forecast, and on every fifth conversation after learning from the others.

    --embeddings names a function that makes one vector of each of a list of texts, the encode of a
    sentence-embedding model for example. What trees gain by them, and by hashed words, on the held-out
    conversations is told; forecasts are not made of them.
    """
    embed = None if embeddings is None else load_embedder(embeddings)
    runs = traced(data)[:limit]
    package = boosting_package() if boosting else None
    told = progress()
    train = _trainer(60.0) if networks else None
    if embed is not None and package is None:
        raise ConfigError("needs boosted trees", field="--embeddings", allowed="pip install lightgbm, no --no-boosting")
    if embed is not None and not any(call.prompt for run in runs for call in run.calls):
        raise ConfigError("there is no prompt in DATA", field="--embeddings", allowed="a column prompt")
    if boosting and package is None:
        told.print("neither lightgbm nor scikit-learn is installed: no comparison with boosted trees")
    with told.status("forecasting") as status:

        def tell(what: str) -> Callable[[int, int], None]:
            return lambda done, total: status.update(f"{what}: {done} of {total}")

        online = evaluate_online(runs, package, tell("online, calls"))
        split = evaluate_split(runs, package, tell("held-out conversations"), train, embed)
    report = LengthReport(online, split, package)
    if as_json:
        print_json(report.document())
    else:
        _show_report(report, runs, people(pipe_width=110))
    for path in [] if out is None else report.write_plots(out):
        told.print(f"wrote {path}", markup=False, soft_wrap=True)


def _fitting() -> Any:
    """The module that trains.

    Raises:
        ConfigError: torch is not installed.
    """
    try:
        return import_module("agentsched.training.fitting")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ConfigError(
            "training needs torch, which is not installed", allowed="pip install 'agentsched[torch]'"
        ) from error


def _trainer(budget_s: float) -> Callable[[Examples], Mapping[str, TrainedLengths]]:
    fitting = _fitting()

    def train(examples: Examples) -> Mapping[str, TrainedLengths]:
        if examples.size < fitting.FEWEST:
            return {}
        made = {
            "quantile network": fitting.fit_network(examples, budget_s=budget_s)[0],
            "gated experts": fitting.fit_experts(examples, budget_s=budget_s)[0],
        }
        return cast("Mapping[str, TrainedLengths]", made)

    return train


def _show_report(report: LengthReport, runs: list[TraceRun], console: Console) -> None:
    workflows = len({run.workflow for run in runs})
    console.print(f"{report.online.outcomes.size} calls in {len(runs)} conversations of {workflows} workflows\n")
    console.print(_scores_table("online: each call from those before it", report.online.scores()))
    console.print(f"changes of length that were noticed: {report.online.drifts}\n")
    if report.split is None:
        console.print("too few conversations to hold some out")
    else:
        console.print(_scores_table("held-out conversations, learned from the others", report.split.scores()))
    after = report.after_switch()
    if after:
        console.print()
        console.print(_switch_table(after), markup=False)


def _scores_table(title: str, scores: Mapping[str, Scores]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1), header_style="dim")
    table.add_column("forecaster")
    for head in ("pinball", ".5", ".9", ".99", "cover .5", ".9", ".99", "5-95 %", "median error"):
        table.add_column(head, justify="right")
    for name, one in scores.items():
        shares = (*one.coverage, one.interval_90)
        table.add_row(
            name,
            f"{one.mean_pinball:.2f}",
            *(f"{loss:.1f}" for loss in one.pinball),
            *(f"{share:.1%}" for share in shares),
            f"{one.median_error:.1f}",
        )
    return table


def _switch_table(after: list[WorkflowScores]) -> Table:
    table = Table(title="calls 201 to 1,200 of each workflow", title_justify="left", box=None, padding=(0, 1))
    table.add_column("workflow")
    for head in ("calls", "cover .9", "5-95 %", "99 % band", "pinball", "uncalibrated"):
        table.add_column(head, justify="right")
    for one in after:
        table.add_row(
            one.workflow or "(no name)",
            str(one.calls),
            f"{one.calibrated.coverage[1]:.1%}",
            f"{one.calibrated.interval_90:.1%}",
            f"{one.band_90[0]:.1%} to {one.band_90[1]:.1%}",
            f"{one.calibrated.mean_pinball:.2f}",
            f"{one.uncalibrated.mean_pinball:.2f}",
        )
    return table


# -- train -----------------------------------------------------------------------------------------------------------


@command.command("train", epilog=DATA_HELP)
@data_argument
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The weights to write.")
@click.option("--model", type=click.Choice(["network", "experts"]), default="network", show_default=True)
@click.option("--budget", default="60s", show_default=True, help="No pass over the data begins later than this.")
@click.option("--start", type=click.Path(dir_okay=False, path_type=Path), help="Weights to go on from.")
@click.option("--seed", default=0, show_default=True)
@json_option
def train(
    data: tuple[Path, ...], out: Path, model: str, budget: str, start: Path | None, seed: int, as_json: bool
) -> None:
    """Train a length forecaster on DATA and write its weights.

    The latest 15 % of the calls are not learned from but judge it. Weights that --start names are kept, and none are
    written, unless the new ones are better there.
    """
    budget_s = parse_duration(budget, field="--budget")
    fitting = _fitting()
    known = None if start is None else load_weights(start)
    if known is not None and known.kind != model:
        raise ConfigError("weights of another model", file=str(start), given=known.kind, allowed=model)
    examples = examples_of(traced(data))
    with progress().status(f"training on {examples.size} calls"):
        fit = fitting.fit_network if model == "network" else fitting.fit_experts
        made, how = fit(examples, seed=seed, budget_s=budget_s, start=known)
    _, judged = examples.split()
    before = None if known is None else judged.loss(known)
    better = before is None or how.loss < before
    if better:
        save_weights(out, made)
    document = {"model": model, "calls": examples.size, "loss": how.loss, "loss_before": before, "written": better}
    if as_json:
        print_json(document | {"passes": how.passes, "seconds": how.seconds})
        return
    text = f"{how.passes} passes in {how.seconds:.1f} s: mean pinball loss {how.loss:.2f} tokens on the latest calls"
    people().print(text if before is None else f"{text}, {before:.2f} before")
    people().print(
        f"wrote {out}" if better else "not better than before: nothing written", markup=False, soft_wrap=True
    )


# -- show and export -------------------------------------------------------------------------------------------------


@command.command("show", epilog=DATA_HELP)
@data_argument
@json_option
def show(data: tuple[Path, ...], as_json: bool) -> None:
    """Show what is believed of each step's output length after DATA."""
    believed = beliefs_of(learned_from(traced(data)))
    if as_json:
        print_json([dataclasses.asdict(one) for one in believed])
        return
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for head in ("workflow", "step", "model"):
        table.add_column(head)
    for head in ("P5", "P50", "P95", "looks at"):
        table.add_column(head, justify="right")
    for one in believed:
        table.add_row(one.workflow, one.step, one.model, *_tokens(one), one.view)
    people(pipe_width=110).print(table, markup=False)


def _tokens(one: StepBelief) -> tuple[str, str, str]:
    return f"{one.p5_tokens:.0f}", f"{one.p50_tokens:.0f}", f"{one.p95_tokens:.0f}"


@command.command("export", epilog=DATA_HELP)
@data_argument
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
@json_option
def export(data: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Write all that is learned from DATA as JSON: the quantiles of every group, views and corrections.

    It goes to the file that --out names, or with --json to stdout.
    """
    if as_json is (out is not None):
        raise click.UsageError("export needs one of --out FILE and --json")
    known = learned_from(traced(data))
    document = {
        "schema": 1,
        "levels": [(k + 0.5) / 32 for k in range(32)],
        "groups": [{"key": key, "tokens": _list(made.values)} for key, made in known.groups.items()],
        "views": [{"scope": scope, "view": view} for scope, view in known.views.items()],
        "offsets": [{"scope": scope, "log1p": _list(offset)} for scope, offset in known.offsets.items()],
    }
    if out is None:
        print_json(document)
        return
    try:
        out.write_text(json.dumps(document), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", file=str(out)) from error
    progress().print(f"wrote {out}: {len(known.groups)} groups", markup=False, soft_wrap=True)


def _list(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[float]:
    return [round(float(value), 6) for value in values]
