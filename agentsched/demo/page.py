"""The comparison as one HTML page that needs nothing but a browser."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

from agentsched.demo.plan import DEADLINE, LOAD, PATIENCE, Plan
from agentsched.demo.plots import comparison_png
from agentsched.demo.pool import FASTEST, PROFILES
from agentsched.demo.results import ArmResult
from agentsched.demo.table import FOOTNOTES, comparison_rows, ratio_heads

__all__ = ["comparison_page"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .2rem .8rem; text-align: right; }
th { border-bottom: 1px solid #999; } th:first-child, td:first-child { text-align: left; }
td.ours { font-weight: 600; color: #1f7a5c; } td.ratio, .note { color: #666; } .bad { color: #c0392b; }
pre { background: #f6f6f4; padding: .8rem 1rem; overflow-x: auto; } .added { color: #1f7a5c; font-weight: 600; }
img { max-width: 100%; height: auto; } li { margin: .2rem 0; }
"""


def comparison_page(plan: Plan, results: Sequence[ArmResult]) -> str:
    """The page as HTML, without scripts and without anything to load."""
    parts = (
        "<h1>One decorator, one deadline</h1>",
        _summary(plan, results),
        _picture(results),
        _table(results),
        _difference(plan),
        _conditions(plan),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>agentsched demo</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _summary(plan: Plan, results: Sequence[ArmResult]) -> str:
    said = []
    for result in results:
        figures = result.figures
        said.append(
            f"<b>{escape(result.arm)}</b>: "
            + (
                "<span class=bad>no figures, the emulator did not keep time</span>"
                if figures is None
                else f"{figures.attained} of {len(result.ended)} in time ({figures.attainment:.0%})"
            )
        )
    return (
        f"<p>{plan.workflows} runs of one LangGraph agent arrive over {results[0].window_s:.0f} s at a pool of "
        f"{len(PROFILES)} unequal endpoints; each should be answered within {plan.deadline_s:g} s. The same questions "
        f"at the same instants, three times:</p><ul>{''.join(f'<li>{text}</li>' for text in said)}</ul>"
    )


def _picture(results: Sequence[ArmResult]) -> str:
    if all(result.figures is None for result in results):
        return ""
    data = b64encode(comparison_png(results)).decode()
    return f'<img alt="the three arms compared" src="data:image/png;base64,{data}">'


def _table(results: Sequence[ArmResult]) -> str:
    heads = ("", *(result.arm for result in results), *ratio_heads(results))
    rows = []
    for row in comparison_rows(results):
        *others, ours = row.cells
        cells = [_cell(row.label), *map(_cell, others), _cell(ours, "ours")]
        rows.append(_row([*cells, *(_cell(ratio, "ratio") for ratio in row.ratios)]))
    head = _row(f"<th>{escape(text)}</th>" for text in heads)
    notes = "<br>".join(map(escape, FOOTNOTES))
    return f"<table>{head}{''.join(rows)}</table><p class=note>{notes}</p>"


def _cell(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _difference(plan: Plan) -> str:
    added = f'@agentsched.workflow(slo=SLO(deadline="{plan.deadline_s:g}s"), pool="pool.yaml")'
    return (
        "<h2>The whole difference</h2><p>The agent is the same function in all three; in the third it is decorated. "
        "Its clients are those of the first: they name one endpoint.</p>"
        f'<pre><span class="added">+ {escape(added)}</span>\n'
        "  async def answer(case): ...  # plan, research side by side (Send), review until accepted, write</pre>"
    )


def _conditions(plan: Plan) -> str:
    pool = "; ".join(
        f"{name}: {1000 * profile.step_base_s:.1f} ms per token alone, "
        f"{profile.prefill_tokens_per_s:,.0f} prompt tokens/s"
        for name, profile in PROFILES.items()
    )
    said = (
        f"Load: {plan.rate_per_s:.2f} workflows/s of {plan.calls_per_workflow:.1f} calls, {plan.load:.0%} of what the "
        f"pool could do if the work were divided perfectly (rule: {LOAD:.0%}). At that load the slowest endpoint "
        "cannot keep up with an equal share, and the fastest cannot do it alone.",
        f"Deadline: {plan.deadline_s:g} s for every workflow (rule: {DEADLINE:g} times {plan.idle_s:.2f} s, the idle "
        f"time of the median case on {FASTEST}). Some cases are too long for it on any endpoint under load.",
        "Latency: from the instant a workflow was due to arrive (open loop) until there was an answer or an error. "
        f"Whoever asks gives up after {PATIENCE:g} deadlines; ≥ marks quantiles that this cut off. agentsched ends a "
        "run at its deadline, so its late runs are errors at the deadline, not late answers.",
        "Endpoints are emulated: real HTTP servers whose token times come from a model of continuous batching, fitted "
        f"to published figures for a 70B model on these GPUs. {pool}. Prices are assumed.",
        "agentsched starts with the endpoints' idle speed in pool.yaml (as `agentsched probe` would measure it) and "
        "knows nothing about the workflow; it learns while it runs. Nothing else runs on the pool.",
        "Retries: requests that the endpoints counted beyond the calls that the agent made. Tokens include those that "
        "nobody waited for any more.",
        "One run with one seed on one machine: the interval says how far a share may be off by chance alone.",
    )
    return f"<h2>Conditions</h2><ul class=note>{''.join(f'<li>{escape(text)}</li>' for text in said)}</ul>"
