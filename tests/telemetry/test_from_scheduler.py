"""What the real scheduler records, written and read again: the two ends of the contract in core/records.py."""

import json

import jsonschema
import pytest

from agentsched.core.call import FailureKind
from agentsched.telemetry.encoding import LogEncoder
from agentsched.telemetry.explain import explain
from agentsched.telemetry.reading import read_log
from agentsched.telemetry.report import build_report
from agentsched.telemetry.schema import log_schema
from tests.scheduler.bench import Bench, FirstReady


@pytest.fixture
def log(tmp_path):
    bench = Bench("a", policy=FirstReady())  # with one endpoint none is left for another
    bench.run(deadline_s=10.0, deadline_at=bench.now + 10.0)
    bench.advance(0.5)
    plan = bench.call(deadline_s=9.5, step="plan", stream=True, input_tokens=100)
    bench.progress(plan, 1)
    bench.advance(1.0)
    bench.finish(plan, 20)
    bench.advance(1.0)
    write = bench.call(deadline_s=7.5, step="write", call_index=1, parents=("c0",), tool_s=1.0, stream=True)
    bench.advance(0.0625)
    bench.fail(write, FailureKind.RESET)
    while len(write.starts) < 2:
        bench.advance(0.0625)
    bench.progress(write, 1)
    bench.advance(1.0)
    bench.finish(write, 30)
    bench.advance(0.25)
    bench.end_run()
    encoder = LogEncoder(wall_offset_s=0.0, prompts=False)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(line for record in bench.records if (line := encoder.line(record)) is not None))
    return path


def test_its_lines_satisfy_the_schema(log):
    validator = jsonschema.Draft202012Validator(log_schema())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["record"] for line in lines} >= {"run", "call", "attempt"}
    for line in lines:
        validator.validate(line)


def test_a_run_it_scheduled_can_be_explained(log):
    reading = read_log(log)
    (run,) = reading.runs
    assert reading.bad_lines == 0
    explained = explain(run)
    assert [span.call.step for span in explained.timeline.critical()] == ["plan", "write"]
    plan, write = explained.timeline.spans
    assert (plan.start_s, plan.end_s, write.start_s) == (0.5, 1.5, 2.5)
    assert [attempt.status for attempt in write.tries] == ["reset", "ok"]
    assert explained.retries == 1
    spent = explained.timeline.spent()
    assert spent["lost"] == pytest.approx(0.0625)
    assert spent["tool"] == pytest.approx(0.5 + 1.0 + 0.25)
    assert spent["decode"] == pytest.approx(1.0 + 1.0)
    assert sum(spent.values()) == pytest.approx(run.elapsed_s)
    assert all(span.planned_s is not None for span in explained.timeline.spans)


def test_a_run_it_scheduled_can_be_reported(log):
    (workflow,) = build_report(read_log(log)).workflows
    assert (workflow.runs, workflow.calls, workflow.attempts, workflow.retries) == (1, 2, 3, 1)
    assert workflow.attainment.met == 1
    assert workflow.predictions.odds == 1
    assert workflow.predictions.answers == 2
    assert workflow.attempt_failures == {"reset": 1}
