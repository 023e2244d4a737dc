"""Figures of an arm, and the rows that show them."""

import json

import pytest

from agentsched.demo.comparison import document, same_answers
from agentsched.demo.plan import Plan
from agentsched.demo.results import ArmResult, ClientReport, Ended, Outcome
from agentsched.demo.table import NO_FIGURES, comparison_rows
from agentsched.telemetry.spread import wilson_interval


def rows_of(arms: list[ArmResult]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    return {row.label.strip(): (row.cells, row.ratios) for row in comparison_rows(arms)}


def test_only_an_answer_by_the_deadline_counts(arm) -> None:
    figures = arm(latencies=(9.9, 10.0, 10.1, 20.0)).figures
    assert figures.attained == 2
    assert figures.attainment == 0.5
    assert figures.interval == wilson_interval(2, 4)
    assert figures.late == 1
    assert figures.outcomes == {"answered": 3, "gave up": 1}
    assert figures.goodput_per_s == pytest.approx(2 / 3)  # arrivals at 0, 1, 2, 3 s


def test_an_error_before_the_deadline_does_not_count(arm) -> None:
    made = arm(latencies=(1.0, 2.0))
    failed = Ended(0, 0.0, 1.0, Outcome.FAILED, error="boom")
    figures = ArmResult(made.arm, 10.0, (failed, made.ended[1]), made.client, made.endpoints, made.pacing).figures
    assert (figures.attained, figures.late) == (1, 0)


def test_retries_tokens_and_cost_are_what_the_endpoints_counted(arm) -> None:
    figures = arm(latencies=(1.0,)).figures
    assert figures.retries == 4 * 11 - 40
    assert (figures.input_tokens, figures.output_tokens) == (4000, 400)
    assert figures.cost_usd == pytest.approx(0.004)


@pytest.mark.parametrize("late", [{"p95_s": 0.001}, {"chunks": 10}])
def test_an_arm_that_was_not_on_time_has_no_figures(arm, arms, plan: Plan, late: dict) -> None:
    arms[1] = arm("round robin", latencies=(1.0,), **late)
    assert arms[1].figures is None
    cells, ratios = rows_of(arms)["SLO attainment"]
    assert cells == ("20%", NO_FIGURES, "80%")
    assert ratios == ("4.00", "")
    told = document(plan, arms)["arms"][1]
    assert told["figures"] is None
    assert told["pacing"]["passed"] is False


def test_quantiles_beyond_those_who_gave_up_are_lower_bounds(arms) -> None:
    rows = rows_of(arms)
    assert rows["P50 latency, s"][0] == ("12.00", "12.00", "5.00")
    assert rows["P99 latency, s"][0][0] == "≥ 20.00"
    assert not rows["P99 latency, s"][0][2].startswith("≥")


def test_ratios_compare_with_each_other_arm(arms) -> None:
    rows = rows_of(arms)
    assert rows["SLO attainment"][1] == ("4.00", "2.00")
    assert rows["answered late"][1] == ("", "")


def test_the_document_is_plain_json(arms, plan: Plan) -> None:
    told = json.loads(json.dumps(document(plan, arms), allow_nan=False))
    assert [each["arm"] for each in told["arms"]] == ["one endpoint", "round robin", "agentsched"]
    assert told["arms"][2]["figures"]["attained"] == 4
    assert told["plan"]["patience_s"] == 20.0
    assert len(told["arms"][0]["workflows"]) == 5


def test_same_answers_sees_a_difference(arms) -> None:
    assert same_answers(arms)
    other = Ended(0, 0.0, 1.0, Outcome.ANSWERED, "different")
    changed = ArmResult("x", 10.0, (other,), arms[0].client, arms[0].endpoints, arms[0].pacing)
    assert not same_answers([*arms, changed])


def test_the_client_reports_quantiles_of_its_lag() -> None:
    report = ClientReport.of([0.0] * 99 + [0.5], calls=3, cpu_s=1.0, wall_s=2.0)
    assert (report.lag_p50_s, report.lag_worst_s) == (0.0, 0.5)
    assert ClientReport.of([], 0, 0.0, 0.0).lag_worst_s == 0.0
