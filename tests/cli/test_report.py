import json
from textwrap import dedent

import pytest
from click.testing import CliRunner

from agentsched import clock
from agentsched.cli.report import command
from agentsched.errors import ConfigError


def run(index, elapsed_s, outcome="ok", **fields):
    made = {"record": "run", "schema": 1, "run_id": f"r{index}", "workflow": "answer", "outcome": outcome}
    made |= {"arrival_s": 1_790_000_000.0 + 10 * index, "elapsed_s": elapsed_s, "deadline_s": 10.0}
    return made | {"slo": {"percentile": 0.9}, "cost_usd": 0.001} | fields


def call(index, step, start_s, e2e_s, **fields):
    made = {"record": "call", "schema": 1, "run_id": f"r{index}", "workflow": "answer", "step": step, "status": "ok"}
    made |= {"call_id": f"{step}-{index}", "call_index": 0, "start_s": start_s, "e2e_s": e2e_s, "queued_s": 0.5}
    decision = {"attempt_id": f"{step}-{index}", "predicted_e2e_p95_s": 4.0, "predicted_e2e_s": 2.0, "p_meet": 0.8}
    return made | {"decisions": [decision], "input_tokens": 1000, "output_tokens": 101, "retries": 0} | fields


def attempt(index, step, start_s, e2e_s, endpoint, status="ok", **fields):
    made = {"record": "attempt", "schema": 1, "run_id": f"r{index}", "attempt_id": f"{step}-{index}", "status": status}
    made |= {"call_id": f"{step}-{index}", "endpoint": endpoint, "start_s": start_s, "e2e_s": e2e_s}
    return made | {"ttft_s": 0.5, "output_tokens": 101, "predicted_e2e_s": 2.0, "predicted_ttft_s": 0.4} | fields


LOG = [
    line
    for i in range(4)
    for line in (
        call(i, "plan", 0.5, 3.0),
        attempt(i, "plan", 1.0, 2.5, "a" if i % 2 else "b"),
        run(i, 5.0 + i, "ok" if i else "error", calls=1, attempts=1),
    )
]


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LOG))
    return path


def report(*arguments, width=110):
    result = CliRunner().invoke(command, list(map(str, arguments)), env={"COLUMNS": str(width)}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def refuse(*arguments):
    with pytest.raises(ConfigError) as caught:
        CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    return str(caught.value)


def test_the_whole_table(log):
    shown = "\n".join(row.rstrip() for row in report(log).stdout.rstrip().splitlines())
    assert shown == dedent(
        """\
        workflow answer: 4 runs, 2026-09-21 14:13:20 to 2026-09-21 14:13:58 UTC
          SLO          75.0% of 4 runs met it (95 % interval 30.1% to 95.4%), goal 90%: too few runs to tell
          goodput      0.0789 runs/s met their SLO
          latency      P50 6.5, P90 7.7, P95 7.85, P99 7.97 s
                       P50 0.65, P90 0.77, P95 0.785, P99 0.797 of the deadline of 10 s
          ended        ok 3, error 1
          per run      1 call, 1 attempt, 0 retries, 1,000 + 101 tokens, 0.001 USD (0.004 in all)
          time         tool 54%, decode 31%, queue 8%, prefill 8%
          queueing     100.0% of the calls waited: P50 0.5, P90 0.5, P95 0.5, P99 0.5 s
          predictions  P95 held for 100.0% of 4 attempts (95 % is right)
                       median error 0.5 s (20%), first token 0.1 s
                       P(meet) said 80.0% at first on average, 75.0% met it (Brier score 0.190)

          endpoint  attempts  share  errors  TTFT P50  P95 s  TPOT P50  P95 ms  USD
          a                2    50%    0.0%       0.5    0.5        20      20    0
          b                2    50%    0.0%       0.5    0.5        20      20    0

          step  calls  of time  spent P50  P95 s  planned P50  P95 s  tokens P50  P95
          plan      4      46%          3      3            2      2         101  101"""
    )


def test_what_was_wasted_and_on_which_further_attempts(tmp_path):
    decisions = [{"attempt_id": f"plan-0.{k}", "why": why} for k, why in enumerate(("first", "hedge", "migrate"))]
    lines = [
        call(0, "plan", 0.0, 3.0, decisions=decisions),
        run(0, 5.0, input_tokens=900, output_tokens=100, wasted_tokens=250, wasted_usd=0.02),
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (shown,) = (line for line in report(path).stdout.splitlines() if "wasted" in line)
    assert shown.split(maxsplit=1)[1].rstrip() == "250 tokens (25.0%), 0.02 USD: hedge 1, migrate 1"
    told = json.loads(report(path, "--json").stdout)["workflows"][0]
    assert told["attempts_by"] == {"first": 1, "hedge": 1, "migrate": 1}
    assert (told["wasted_tokens"], told["wasted_usd"]) == (250, 0.02)


@pytest.mark.parametrize("width", [50, 80])
def test_it_fits_the_screen_it_is_given(log, width):
    assert max(map(len, report(log, width=width).stdout.splitlines())) <= width


def test_endpoints_and_costs_are_whole_on_80_columns(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [call(0, "plan", 0.5, 3.0), attempt(0, "plan", 1.0, 2.5, "a100-tp2", cost_usd=9.2668e-06), run(0, 5.0)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    row = next(row for row in report(path, width=80).stdout.splitlines() if row.startswith("  a100"))
    assert (row.split()[0], row.split()[-1]) == ("a100-tp2", "9.3e-06")


def test_json_holds_the_same_figures(log):
    told = json.loads(report(log, "--json").stdout)
    (workflow,) = told["workflows"]
    assert (workflow["attainment"]["share"], workflow["latency_s"]["p95"]) == (0.75, pytest.approx(7.85))
    assert told["files"] == [str(log)]


def test_one_workflow_can_be_picked(log):
    with log.open("a") as file:
        file.write(json.dumps(run(9, 1.0, workflow="other")) + "\n")
    assert [one["workflow"] for one in json.loads(report(log, "--json").stdout)["workflows"]] == ["answer", "other"]
    assert "workflow answer" not in report(log, "--workflow", "other").stdout
    assert refuse(log, "--workflow", "nobody") == "--workflow: no run of this workflow in the log (given: 'nobody')"


@pytest.mark.parametrize(
    ("since", "runs"),
    [
        ("2026-09-21T14:13:40", 2),
        ("2026-09-21T16:13:40+02:00", 2),
        ("2026-09-21", 4),
        ("25s", 1),
        ("1m", 4),
    ],
)
def test_runs_may_be_taken_from_an_instant_on(log, monkeypatch, since, runs):
    monkeypatch.setattr(clock, "wall", lambda: 1_790_000_050.0)
    assert json.loads(report(log, "--since", since, "--json").stdout)["workflows"][0]["runs"] == runs


def test_an_instant_that_is_none_is_refused(log):
    text = "--since: not a time (given: 'yesterday'); allowed: a duration such as 1h or 30m, or a date"
    assert refuse(log, "--since", "yesterday").startswith(text)


def test_nothing_since_then_is_no_error(log, monkeypatch):
    assert report(log, "--since", "2030-01-01").stdout.strip() == "no runs"


def test_the_page_is_written(log, tmp_path):
    report(log, "--html", tmp_path / "report.html")
    assert "<h2>answer</h2>" in (tmp_path / "report.html").read_text()
    assert refuse(log, "--html", tmp_path / "gone" / "report.html").endswith(
        "cannot be written: No such file or directory"
    )


def test_what_is_missing_is_said(log):
    with log.open("a") as file:
        file.write('{"record": "lost", "schema": 1, "records": 12}\n' + "broken\n" * 7)
    result = report(log)
    assert "12 records could not be written and are missing here" in result.stdout
    assert f"skipped: {log}:14: not JSON" in result.stderr
    assert "skipped: 7 lines in all" in result.stderr
    assert json.loads(report(log, "--json").stdout)["bad_lines"] == 7


def test_a_missing_log_is_named(tmp_path):
    assert refuse(tmp_path / "gone.jsonl").startswith(f"{tmp_path / 'gone.jsonl'}: no such file")


def test_failures_and_feedback_are_shown(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [
        call(0, "plan", 0.0, 3.0, status="deadline"),
        attempt(0, "plan", 0.0, 3.0, "a", "silent"),
        run(0, 3.0, "deadline", deadline_s=None, slo=None),
        {"record": "feedback", "schema": 1, "run_id": "r0", "score": 0.5},
        call(1, "plan", 0.0, 3.0),
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = report(path).stdout
    assert "1 run, 1 more without an end in the log" in shown
    for text in ("none of the runs had one", "deadline 1", "silent 1", "0.5 on average", "100.0%"):
        assert text in shown


@pytest.mark.parametrize("arrival_s", [1_790_000_000_000.0, 1e300])
def test_arrivals_that_no_calendar_has_are_told_as_seconds(tmp_path, arrival_s):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(run(1, 5.0, arrival_s=arrival_s)) + "\n")
    assert f"{arrival_s:g} s to {arrival_s:g} s UTC" in report(path).output


def test_names_in_brackets_are_shown_as_they_are(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in (attempt(1, "plan", 0.0, 1.0, "gpu [/a]"), run(1, 5.0))))
    assert "gpu [/a]" in report(path).output
