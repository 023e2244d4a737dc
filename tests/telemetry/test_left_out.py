"""An optional step that was left out, from the scheduler through the log to what people are told."""

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from agentsched.cli import explain as explain_command
from agentsched.cli import report as report_command
from agentsched.core.call import ModelCall
from agentsched.core.forecast import QuantileForecast
from agentsched.core.remainder import RemainderForecast, RunHistory
from agentsched.telemetry.encoding import LogEncoder
from agentsched.telemetry.reading import read_log
from agentsched.telemetry.report import build_report
from agentsched.telemetry.report_page import report_page
from agentsched.telemetry.schema import log_schema
from tests.scheduler.bench import Bench, FixedLengths


class Rest:
    """So much follows every call, and less if a step is left out."""

    rest_s = 0.5
    after_s = 8.0

    def predict(self, call: ModelCall, history: RunHistory) -> RemainderForecast:
        return RemainderForecast.of_seconds(QuantileForecast.constant(self.rest_s))

    def after_leaving(self, call: ModelCall, history: RunHistory, step: str) -> RemainderForecast:
        return RemainderForecast.of_seconds(QuantileForecast.constant(self.after_s))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rest = Rest()
    bench = Bench("a", lengths=FixedLengths(50), remainders=rest)
    bench.run("r-1", deadline_s=10.0, deadline_at=bench.now + 10.0)
    plan = bench.call(10.0, run_id="r-1", step="plan")
    bench.advance(1.0)
    bench.finish(plan, 50)
    rest.rest_s = 9.0
    bench.call(9.0, run_id="r-1", step="critique", call_index=1, optional=("critique#0",))
    rest.after_s = 20.0
    hopeless = bench.call(9.0, run_id="r-1", step="polish", call_index=2, optional=("polish#1",))
    bench.advance(2.0)
    bench.finish(hopeless, 50)
    bench.end_run("r-1")
    encoder = LogEncoder(wall_offset_s=0.0, prompts=False)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(line for record in bench.records if (line := encoder.line(record)) is not None))
    return path


def test_its_lines_satisfy_the_schema_and_are_read_again(log):
    validator = jsonschema.Draft202012Validator(log_schema())
    for line in log.read_text().splitlines():
        validator.validate(json.loads(line))
    (run,) = read_log(log).runs
    assert run.line.skipped == ("critique",)
    plan, critique, polish = run.calls
    assert (plan.optional, critique.optional, critique.status) == ((), ("critique#0",), "skipped")
    assert [(one.verdict, one.attempt_id, one.p_stay, one.p_switch) for one in critique.reviews] == [("skip", "", 0, 1)]
    assert [(one.verdict, one.p_stay, one.p_switch) for one in polish.reviews] == [("keep", 0, 0)]


def test_a_report_counts_it_and_not_as_a_failure(log):
    report = build_report(read_log(log))
    (workflow,) = report.workflows
    assert (workflow.skipped, workflow.call_failures) == ({"critique": 1}, {})
    assert {step.step for step in workflow.steps} == {"plan", "polish"}
    assert "steps left out" in report_page(report)
    shown = CliRunner().invoke(report_command.command, [str(log)], env={"COLUMNS": "110"}).stdout
    (line,) = (line for line in shown.splitlines() if "left out" in line)
    assert line.split(maxsplit=2)[2].strip() == "critique 1"


def test_explain_tells_why_and_why_not(log):
    shown = CliRunner().invoke(explain_command.command, ["r-1", "--log", str(log)], env={"COLUMNS": "140"}).stdout
    lines = [line.strip() for line in shown.splitlines()]
    why = "without 'critique' the run is likelier in time (in time: 0.00 with it, 1.00 without)"
    assert f"critique  at 1.00 s left out: {why}" in lines
    assert "done all the same: leaving out 'polish' gains too little (in time: 0.00 with it, 0.00 without)" in lines
    told = json.loads(CliRunner().invoke(explain_command.command, ["r-1", "--log", str(log), "--json"]).stdout)
    assert told["skipped"] == ["critique"]
    assert [call["status"] for call in told["timeline"]] == ["ok", "skipped", "ok"]
