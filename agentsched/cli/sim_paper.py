"""``agentsched sim paper``: published experiments made again."""

import tempfile
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agentsched.bench.machine import package_versions
from agentsched.bench.sheets import Sheet, drawn, markdown_section, write_section
from agentsched.cli.output import headed, json_option, people, print_json, progress
from agentsched.cli.sim_arguments import jobs_option, seeds_of, writable
from agentsched.sim.intervals import Estimate
from agentsched.sim.papers.experiment import Claim, Lab, Measured
from agentsched.sim.papers.table import PAPERS, Reproduced, find_paper, reproduce

__all__ = ["paper"]

_QUICK = 0.25
_WIDTH = 170


@click.command("paper")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--seeds", default="1-3", show_default=True, help="E.g. 1-5 or 1,4,7-9.")
@click.option("--quick", is_flag=True, help=f"{_QUICK:.0%} of the length and one seed: to see that it works.")
@click.option(
    "--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the results into this file too."
)
@jobs_option
@json_option
def paper(name: str | None, seeds: str, quick: bool, markdown: Path | None, jobs: int, as_json: bool) -> None:
    """Make a published experiment again: what was reported, what comes out here, and what had to be assumed.

    Without NAME, list those there are.
    """
    if name is None:
        _list(as_json)
        return
    chosen = find_paper(name)
    writable(markdown, "--markdown")
    columns = (TextColumn(chosen.name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        tempfile.TemporaryDirectory() as scratch,
        Progress(*columns, console=progress(), transient=True) as bar,
    ):
        shown = bar.add_task("", total=None)
        lab = Lab(Path(scratch), (1,), _QUICK) if quick else Lab(Path(scratch), tuple(seeds_of(seeds)))
        result = reproduce(
            chosen,
            lab,
            processes=jobs,
            progress=lambda done, total: bar.update(shown, completed=done, total=total),
        )
    if markdown is not None:
        _write(markdown, result, f"agentsched sim paper {name}" + (" --quick" if quick else f" --seeds {seeds}"))
    if as_json:
        print_json(_document(result))
        return
    console = people(pipe_width=_WIDTH)
    console.print(headed(chosen.title, f"\n{chosen.source}"))
    for sheet in _sheets(result):
        console.print(drawn(sheet))
    for line in _assumed(result):
        console.print(line, soft_wrap=True, markup=False)


def _list(as_json: bool) -> None:
    found = [{"name": one.name, "title": one.title, "source": one.source} for one in PAPERS.values()]
    if as_json:
        print_json({"papers": found})
        return
    rows = tuple((one["name"], one["title"]) for one in found)
    people(pipe_width=_WIDTH).print(drawn(Sheet("Published experiments", ("name", "what"), 2, rows)))


def _sheets(result: Reproduced) -> list[Sheet]:
    seeds = len(result.seeds)
    title = f"{seeds} seed{'s' * (seeds > 1)}, 95 % intervals over seeds"
    figures = [_figures(one) for one in result.found.values()]
    # What is the same in all arms (no price, one quality, one attempt per call) tells nothing.
    shown = [name for name in figures[0] if name not in _OPTIONAL or len({row[name] for row in figures}) > 1]
    rows = tuple((*key, *(row[name] for name in shown)) for key, row in zip(result.found, figures, strict=True))
    claims = tuple(_claim(claim) for claim in result.claims)
    return [
        Sheet(title, (*result.paper.columns, *shown), len(result.paper.columns), rows),
        Sheet("Published, and here", ("figure", "published", "here", "gap", "remark"), 1, claims),
    ]


_OPTIONAL = frozenset({"USD", "quality", "attempts"})


def _figures(one: Measured) -> dict[str, str]:
    return {
        "runs": str(one.runs),
        "in time": _share(one.attainment),
        "runs/s in time": f"{one.goodput.mean:.3g}",
        "mean s": f"{one.mean_s.mean:.3g}",
        "P50 s": f"{one.p50_s.mean:.3g}",
        "P90 s": f"{one.p90_s.mean:.3g}",
        "P95 s": f"{one.p95_s.mean:.3g}",
        "P99 s": f"{one.p99_s.mean:.3g}",
        "USD": f"{one.cost_usd.mean:.3g}",
        "quality": "" if one.quality is None else f"{one.quality.mean:.3f}",
        "attempts": f"{one.attempts.mean:.3g}",
        "95 % done s": f"{one.finish_p95_s.mean:.4g}",
        "all done s": f"{one.last_s.mean:.4g}",
    }


def _share(one: Estimate) -> str:
    return f"{100 * one.mean:.1f} %" if one.half is None else f"{100 * one.mean:.1f} ± {100 * one.half:.1f} %"


def _claim(claim: Claim) -> tuple[str, ...]:
    unit = f" {claim.unit}" if claim.unit else ""
    published = "not public" if claim.published is None else f"{claim.published:.4g}{unit}"
    gap = "" if claim.gap is None else f"{100 * claim.gap:+.0f} %"
    return claim.what, published, f"{claim.ours:.4g}{unit}", gap, claim.remark


def _assumed(result: Reproduced) -> list[str]:
    return [f"assumed: {text}" for text in result.paper.assumed]


def _write(path: Path, result: Reproduced, command: str) -> None:
    text = markdown_section(command, _sheets(result), [], [result.paper.source, *_assumed(result)])
    write_section(path, result.paper.name, f"### {result.paper.title}\n\n{text}")


def _document(result: Reproduced) -> dict[str, Any]:
    def told(one: Estimate | None) -> dict[str, Any] | None:
        return None if one is None else {"mean": one.mean, "half": one.half}

    names = [name for name in Measured.__slots__ if name != "runs"]
    return {
        "paper": result.paper.name,
        "title": result.paper.title,
        "source": result.paper.source,
        "packages": package_versions(),
        "seeds": list(result.seeds),
        "scale": result.scale,
        "assumed": list(result.paper.assumed),
        "arms": [
            dict(zip(result.paper.columns, key, strict=False))
            | {"runs": one.runs}
            | {name: told(getattr(one, name)) for name in names}
            for key, one in result.found.items()
        ],
        "claims": [
            {
                "what": claim.what,
                "published": claim.published,
                "ours": claim.ours,
                "gap": claim.gap,
                "unit": claim.unit,
                "remark": claim.remark,
            }
            for claim in result.claims
        ],
    }
