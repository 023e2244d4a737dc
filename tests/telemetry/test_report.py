import json
import re
from dataclasses import replace
from html import escape

import pytest

from agentsched.telemetry.reading import read_log
from agentsched.telemetry.report import build_report
from agentsched.telemetry.report_page import report_page
from agentsched.telemetry.report_rows import predictions, waste


def run(run_id, arrival_s, elapsed_s, outcome="ok", **fields):
    made = {"record": "run", "schema": 1, "run_id": run_id, "workflow": "answer", "arrival_s": arrival_s}
    made |= {"elapsed_s": elapsed_s, "outcome": outcome, "deadline_s": 10.0, "slo": {"percentile": 0.75}}
    return made | fields


def call(run_id, index, step, start_s, e2e_s, **fields):
    made = {"record": "call", "schema": 1, "run_id": run_id, "workflow": "answer", "step": step, "start_s": start_s}
    made |= {"call_id": f"c{index}", "call_index": index, "e2e_s": e2e_s, "status": "ok", "queued_s": 0.0}
    return made | {"retries": 0, "input_tokens": 10, "output_tokens": 5, "cost_usd": 0.5} | fields


def attempt(run_id, index, number, endpoint, start_s, e2e_s, status="ok", **fields):
    made = {"record": "attempt", "schema": 1, "run_id": run_id, "workflow": "answer", "call_id": f"c{index}"}
    made |= {"attempt_id": f"c{index}.{number}", "endpoint": endpoint, "start_s": start_s, "e2e_s": e2e_s}
    return made | {"status": status, "input_tokens": 10, "output_tokens": 5, "cost_usd": 0.25} | fields


def decided(index, number, p95_s, p_meet=None, e2e_s=2.0):
    return {
        "attempt_id": f"c{index}.{number}",
        "predicted_e2e_p95_s": p95_s,
        "predicted_e2e_s": e2e_s,
        "p_meet": p_meet,
        "rivals": [],
    }


LOG = [
    # r1: 8 s, in time; plan 2 s (1 s of it to the first token), tools 1 s, write 4 s after 1 s of waiting
    run("r1", 100.0, 8.0, calls=2, attempts=2, input_tokens=20, output_tokens=50, cost_usd=0.01),
    call("r1", 0, "plan", 0.0, 2.0, decisions=[decided(0, 1, 3.0, p_meet=0.9)]),
    attempt("r1", 0, 1, "a", 0.0, 2.0, ttft_s=1.0, output_tokens=11, predicted_e2e_s=1.5, predicted_ttft_s=0.8),
    call("r1", 1, "write", 3.0, 5.0, parents=["c0"], queued_s=1.0, decisions=[decided(1, 1, 3.5)]),
    attempt("r1", 1, 1, "b", 4.0, 4.0, ttft_s=0.5, output_tokens=36, predicted_e2e_s=2.0, predicted_ttft_s=0.5),
    # r2: 12 s, late; one attempt limited and retried elsewhere, one left
    run("r2", 110.0, 12.0, "deadline", calls=1, attempts=3, input_tokens=10, output_tokens=5, cost_usd=0.03),
    call(
        "r2",
        0,
        "plan",
        2.0,
        10.0,
        retries=2,
        status="deadline",
        decisions=[decided(0, 1, 9.0, p_meet=0.7), decided(0, 2, 1.0), decided(0, 3, 9.0)],
    ),
    attempt("r2", 0, 1, "a", 2.0, 1.0, "limited"),
    attempt("r2", 0, 2, "b", 3.0, 4.0, "left"),
    attempt("r2", 0, 3, "a", 7.0, 5.0, "deadline"),
    # r3: 4 s, all of it tools; r4 ended in an error inside its deadline; r5 has not ended
    run("r3", 120.0, 4.0),
    run("r4", 130.0, 6.0, "error"),
    call("r5", 0, "plan", 0.0, 1.0, at_s=135.0),
    {"record": "feedback", "schema": 1, "run_id": "r1", "score": 0.2},
    {"record": "feedback", "schema": 1, "run_id": "r1", "score": 1.0},
    {"record": "feedback", "schema": 1, "run_id": "r2", "score": 0.5},
    {"record": "lost", "schema": 1, "records": 3},
    run("x1", 100.0, 1.0, workflow="<other>", deadline_s=None, slo=None),
]


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LOG))
    return build_report(read_log(path))


@pytest.fixture
def answer(report):
    other, answer = report.workflows
    assert (other.workflow, answer.workflow) == ("<other>", "answer")
    return answer


def test_runs_outcomes_and_attainment(answer):
    assert (answer.runs, answer.unfinished) == (4, 1)
    assert answer.outcomes == {"ok": 2, "deadline": 1, "error": 1}
    assert (answer.attainment.runs, answer.attainment.met, answer.attainment.share) == (4, 2, 0.5)
    assert answer.attainment.goal == 0.75
    assert (answer.attainment.low, answer.attainment.high) == pytest.approx((0.15004, 0.84996), abs=1e-5)
    assert answer.attainment.verdict == "open"


def test_goodput_is_per_second_from_first_arrival_to_last_end(answer):
    assert (answer.since_s, answer.until_s) == (100.0, 136.0)
    assert answer.goodput_per_s == pytest.approx(2 / 36)


def test_latency_in_seconds_and_of_the_deadline(answer):
    assert (answer.latency_s.p50, answer.latency_s.max, answer.latency_s.mean) == (7.0, 12.0, 7.5)
    assert answer.latency_s.p90 == pytest.approx(8 + 0.7 * 4)
    assert answer.lateness.p50 == pytest.approx(0.7)
    assert answer.deadline_s == 10.0
    assert (answer.curve_s[0], answer.curve_s[25], answer.curve_s[-1]) == (4.0, 7.0, 12.0)


def test_sums_come_from_the_runs_and_where_they_do_not_tell_from_the_calls(answer):
    assert (answer.calls, answer.attempts, answer.retries) == (3, 5, 2)
    assert (answer.input_tokens, answer.output_tokens) == (30, 55)
    assert answer.cost_usd == pytest.approx(0.04)
    assert answer.score == 0.75


def test_time_by_kind(answer):
    # r1: 1 + .5 prefill, 1 + 3.5 decode, 1 queue, 1 tools; r2: 2 tools, 10 lost; r3: 4 tools; r4: 6 tools; 30 in all
    expected = {"prefill": 1.5, "decode": 4.5, "queue": 1.0, "lost": 10.0, "tool": 13.0, "model": 0.0}
    assert answer.time == pytest.approx({kind: seconds / 30 for kind, seconds in expected.items()})


def test_steps_by_their_share_of_the_time(answer):
    plan, write = answer.steps
    assert (plan.step, plan.calls, plan.share) == ("plan", 2, pytest.approx(12 / 30))
    assert (plan.spent_s.p50, plan.planned_s.p50) == (6.0, 2.0)
    assert (write.step, write.calls, write.share) == ("write", 1, pytest.approx(5 / 30))


def test_endpoints(answer):
    a, b = answer.endpoints
    assert (a.endpoint, a.attempts, a.share) == ("a", 3, 0.6)
    assert a.failures == {"limited": 1, "deadline": 1}
    assert a.error_rate == 0.5  # the attempt that the deadline ended says nothing
    assert a.ttft_s.p50 == 1.0
    assert a.tpot_s.p50 == pytest.approx(1.0 / 10)
    assert (a.input_tokens, a.output_tokens, a.cost_usd) == (30, 21, 0.75)
    assert (b.attempts, b.error_rate, b.failures) == (2, 0.5, {"left": 1})
    assert b.tpot_s.p50 == pytest.approx(3.5 / 35)


def test_failures_and_queueing(answer):
    assert answer.call_failures == {"deadline": 1}
    assert answer.attempt_failures == {"limited": 1, "left": 1, "deadline": 1}
    assert (answer.queueing.calls, answer.queueing.share) == (3, pytest.approx(1 / 3))
    assert answer.queueing.waited_s.p50 == 1.0


def test_predictions(answer):
    found = answer.predictions
    # within 3.0: yes; within 3.5: no; left after 4 s where 1 was the P95: no; cut off before its P95: says nothing
    assert (found.answers, found.p95_coverage) == (3, pytest.approx(1 / 3))
    assert found.e2e_error_s == pytest.approx((0.5 + 2.0) / 2)
    assert found.e2e_error_share == pytest.approx((0.25 + 0.5) / 2)
    assert found.ttft_error_s == pytest.approx((0.2 + 0.0) / 2)
    assert (found.odds, found.mean_p_meet, found.met_share) == (2, pytest.approx(0.8), 0.5)
    assert found.brier == pytest.approx((0.1**2 + 0.7**2) / 2)


def test_a_workflow_without_slo(report):
    other = report.workflows[0]
    assert (other.attainment, other.lateness, other.deadline_s) == (None, None, None)
    assert (other.latency_s.p50, other.time["tool"], other.endpoints, other.steps) == (1.0, 1.0, (), ())
    assert other.predictions.p95_coverage is None
    assert report.lost == 3


@pytest.mark.parametrize(
    ("met", "of", "verdict"), [(400, 400, "met"), (300, 400, "missed"), (380, 400, "open"), (395, 400, "met")]
)
def test_the_goal_is_settled_by_the_interval(tmp_path, met, of, verdict):
    path = tmp_path / "log.jsonl"
    lines = [run(f"r{i}", float(i), 5.0 if i < met else 15.0, slo={"percentile": 0.95}) for i in range(of)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert build_report(read_log(path)).workflows[0].attainment.verdict == verdict


def test_the_report_is_json(report):
    told = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert told["workflows"][1]["attainment"]["met"] == 2
    assert told["workflows"][1]["endpoints"][0]["ttft_s"]["p50"] == 1.0


def test_the_page_stands_alone_and_escapes_names(report):
    page = report_page(report)
    assert "<h2>&lt;other&gt;</h2>" in page
    assert "<other>" not in page
    assert "50.0%</strong> of 4 runs met their SLO" in page
    assert "3 records could not be written" in page
    assert not re.search(r"https?://|<script|src=|url\(", page)
    assert page.count("<table") == page.count("</table>")
    assert page.count("<figure>") == page.count("</figure>") == 4


def test_the_page_tells_what_the_terminal_tells(report):
    one = replace(report.workflows[1], wasted_tokens=30, score=0.5)
    page = report_page(replace(report, workflows=(one,)))
    assert one.predictions.answers > 0
    told = {"wasted": waste(one), "predictions": "; ".join(predictions(one.predictions)), "feedback": "0.5 on average"}
    for name, text in told.items():
        assert f"<td>{name}</td><td>{escape(text)}</td>" in page


def test_an_empty_log(tmp_path):
    (tmp_path / "log.jsonl").write_text("")
    report = build_report(read_log(tmp_path / "log.jsonl"))
    assert report.workflows == ()
    assert "no runs" in report_page(report)
