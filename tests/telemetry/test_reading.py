import gzip
import json
import math
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.core.call import ModelCall, Observation, RunInfo
from agentsched.core.decision import Decision
from agentsched.core.records import CallEnded, Feedback, Note, RunClosed, RunOpened
from agentsched.errors import ConfigError
from agentsched.telemetry.encoding import LogEncoder
from agentsched.telemetry.parsing import parse_line
from agentsched.telemetry.reading import distinct, log_files, read_log


def write(path, *lines):
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def call(run_id="r1", index=0, **fields):
    return {"record": "call", "schema": 1, "run_id": run_id, "call_index": index} | fields


def run(run_id="r1", **fields):
    return {"record": "run", "schema": 1, "run_id": run_id} | fields


# What was emitted is what is read --------------------------------------------------------------------------------

texts = st.text(max_size=20)
seconds = st.floats(min_value=0.0, max_value=1e6, allow_nan=False)
maybe_seconds = st.none() | seconds
any_number = st.none() | st.floats()
tokens = st.integers(min_value=0, max_value=10**9)
maybe_tokens = st.none() | tokens


def as_written(value):
    """What a number becomes in the log."""
    return None if value is None or not math.isfinite(value) else round(value, 6)


def read_back(*records):
    encoder = LogEncoder(wall_offset_s=0.0, prompts=True)
    return [parse_line(line) for line in map(encoder.line, records) if line is not None]


@given(
    st.builds(
        RunInfo,
        run_id=texts,
        workflow=texts,
        started_at=seconds,
        deadline_at=maybe_seconds,
        deadline_s=maybe_seconds,
        parent_run_id=st.none() | texts,
        tenant=texts,
        percentile=st.floats(0.01, 0.99),
        max_cost_usd=maybe_seconds,
    ),
    seconds,
    texts,
    tokens,
)
def test_runs_survive_the_log(info, elapsed_s, outcome, count):
    (read,) = read_back(RunClosed(info, info.started_at + elapsed_s, outcome, count, count, count, count, 0.25))
    assert (read.run_id, read.workflow, read.parent_run_id) == (info.run_id, info.workflow, info.parent_run_id)
    assert (read.tenant, read.outcome, read.calls, read.input_tokens) == (info.tenant, outcome, count, count)
    assert read.arrival_s == as_written(info.started_at)
    assert read.deadline_s == read.slo.deadline_s == as_written(info.deadline_s)
    assert read.slo.percentile == as_written(info.percentile)
    assert read.elapsed_s == pytest.approx(elapsed_s, abs=2e-6)
    assert read.extra == {}


calls = st.builds(
    ModelCall,
    call_id=texts,
    run_id=texts,
    workflow=texts,
    step=texts,
    call_index=tokens,
    model=texts,
    stream=st.booleans(),
    input_tokens=tokens,
    max_tokens=maybe_tokens,
    needs=st.frozensets(texts, max_size=3),
    repeatable=st.booleans(),
    pinned=st.none() | texts,
    prefix=st.integers(0, 2**64 - 1),
    deadline_at=maybe_seconds,
    patience_s=any_number,
    min_quality=st.floats(0, 1),
    priority=st.integers(-8, 8),
    tenant=texts,
    parents=st.lists(texts, max_size=3).map(tuple),
    tool_s=seconds,
    hinted_output_tokens=maybe_tokens,
    remaining_calls=any_number,
    prompt_head=texts,
)


@given(calls, st.lists(st.tuples(texts, any_number.map(lambda x: x or 0.0)), max_size=10), any_number, seconds)
def test_calls_and_their_decisions_survive_the_log(asked, rivals, p_meet, elapsed_s):
    decision = Decision(
        call_id=asked.call_id,
        run_id=asked.run_id,
        attempt_id="a1",
        step=asked.step,
        at=3.0,
        endpoint="b",
        why="first",
        policy="p",
        slack_s=p_meet,
        p_meet=p_meet,
        ttft_s=math.inf,
        e2e_s=elapsed_s,
        e2e_p95_s=1.0,
        output_tokens=2.0,
        score=-math.inf,
        waited_s=0.5,
        rivals=tuple(rivals),
    )
    ended = CallEnded(asked, 2.0, 2.0 + elapsed_s, "ok", "b", 1, 0, 0.5, None, 1, 2, None, 0.5, "")
    opened = RunOpened(RunInfo(asked.run_id, "w", 1.0))
    (read,) = read_back(opened, decision, ended)
    for name in ("call_id", "run_id", "workflow", "step", "call_index", "model", "api", "stream", "max_tokens"):
        assert getattr(read, name) == getattr(asked, name)
    for name in ("repeatable", "pinned", "priority", "tenant", "parents", "hinted_output_tokens"):
        assert getattr(read, name) == getattr(asked, name)
    assert read.estimated_input_tokens == asked.input_tokens
    assert read.needs == tuple(sorted(asked.needs))
    assert read.prefix == (f"{asked.prefix:x}" if asked.prefix else None)
    assert read.prompt == (asked.prompt_head or None)
    assert (read.start_s, read.detail, read.extra) == (1.0, None, {})
    (choice,) = read.decisions
    assert (choice.after_s, choice.predicted_ttft_s, choice.score) == (1.0, None, None)
    assert choice.p_meet == choice.slack_s == as_written(p_meet)
    assert choice.rivals == tuple((name, as_written(score)) for name, score in rivals[:8])


@given(
    st.builds(
        Observation,
        attempt_id=texts,
        call_id=texts,
        run_id=texts,
        workflow=texts,
        step=texts,
        endpoint=texts,
        model=texts,
        started_at=seconds,
        ttft_s=any_number,
        e2e_s=seconds,
        input_tokens=tokens,
        output_tokens=tokens,
        cached_input_tokens=maybe_tokens,
        max_tokens=maybe_tokens,
        status=texts,
        detail=texts,
        stream=st.booleans(),
        predicted_ttft_s=any_number,
        predicted_e2e_s=any_number,
        in_flight=tokens,
    )
)
def test_attempts_survive_the_log(seen):
    (read,) = read_back(seen)
    for name in ("attempt_id", "call_id", "run_id", "step", "endpoint", "model", "status", "stream", "in_flight"):
        assert getattr(read, name) == getattr(seen, name)
    for name in ("ttft_s", "e2e_s", "predicted_ttft_s", "predicted_e2e_s"):
        assert getattr(read, name) == as_written(getattr(seen, name))
    assert (read.detail or "") == seen.detail


# Tolerance -------------------------------------------------------------------------------------------------------


def test_lines_are_put_together_to_runs_wherever_they_stand(tmp_path):
    path = write(
        tmp_path / "log.jsonl",
        call("r2", 0, start_s=0.5),
        call("r1", 1, start_s=2.0),
        run("r2", arrival_s=50.0, workflow="w"),
        {"record": "attempt", "schema": 1, "run_id": "r1", "start_s": 1.0},
        call("r1", 0, start_s=1.0),
        {"record": "feedback", "schema": 1, "run_id": "r1", "score": 0.5},
        {"record": "note", "schema": 1, "at_s": 1.0, "subject": "b", "text": "breaker opened"},
        {"record": "lost", "schema": 1, "records": 7},
        {"record": "lost", "schema": 1, "records": 2},
        run("r1", arrival_s=60.0, outcome="ok"),
    )
    reading = read_log(path)
    assert [one.run_id for one in reading.runs] == ["r2", "r1"]
    first = reading.runs[1]
    assert [one.call_index for one in first.calls] == [0, 1]
    assert (len(first.attempts), first.scores, first.workflow, reading.runs[0].workflow) == (1, [0.5], "?", "w")
    assert (reading.lost, reading.notes[0].text, reading.bad_lines) == (9, "breaker opened", 0)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ('{"record": "call", "run\n', "not JSON: Unterminated"),
        ("[1, 2]\n", "not a JSON object"),
        ('{"schema": 1, "run_id": "r"}\n', "record: None is none of run, call"),
        ('{"record": ["run"], "run_id": "r"}\n', "record: ['run'] is none of"),
        ('{"record": "call", "schema": 99, "run_id": "r"}\n', "schema: 99 is not known"),
        ('{"record": "call", "schema": true, "run_id": "r"}\n', "schema: True is not known"),
        ('{"record": "call", "schema": 1}\n', "run_id: missing"),
        ('{"record": "call", "run_id": true}\n', "run_id: True is not a text or an integer"),
        ('{"record": "call", "run_id": "r", "ttft_s": "soon"}\n', "ttft_s: 'soon' is not a number"),
        ('{"record": "call", "run_id": "r", "ttft_s": 1' + "0" * 400 + "}\n", "ttft_s: 1000"),
        ('{"record": "call", "run_id": "r", "output_tokens": -1}\n', "output_tokens: -1 is not an integer from 0 on"),
        ('{"record": "call", "run_id": "r", "output_tokens": 1.5}\n', "output_tokens: 1.5 is not an integer"),
        ('{"record": "call", "run_id": "r", "stream": 1}\n', "stream: 1 is not true or false"),
        ('{"record": "call", "run_id": "r", "parents": "c1"}\n', "parents: 'c1' is not a list"),
        ('{"record": "call", "run_id": "r", "decisions": [3]}\n', "decisions: 3 is not an object"),
        ('{"record": "call", "run_id": "r", "decisions": [{"rivals": [["b"]]}]}\n', "decisions: rivals: ['b']"),
        (
            '{"record": "run", "run_id": "r", "slo": {"percentile": "high"}}\n',
            "slo: percentile: 'high' is not a number",
        ),
        ("\x00\x01\n", "not JSON: Expecting value"),
        ("[" * 100_000 + "\n", "nested too deeply"),
    ],
)
def test_a_bad_line_is_told_by_file_and_line_and_skipped(tmp_path, bad, text):
    path = write(tmp_path / "log.jsonl", call("r1"), "\n", bad, call("r2"))
    reading = read_log(path)
    assert [one.run_id for one in reading.runs] == ["r1", "r2"]
    assert reading.bad_lines == 1
    assert str(reading.problems[0]).startswith(f"{path}:3: {text}")


def test_bytes_that_are_no_text_are_a_bad_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"record": "note", "text": "\xff"}\n' + json.dumps(call()).encode())
    reading = read_log(path)
    assert (reading.bad_lines, len(reading.runs)) == (1, 1)


def test_a_line_that_is_still_being_written_is_named_so(tmp_path):
    path = write(tmp_path / "log.jsonl", call("r1"), '{"record": "ca')
    assert read_log(path).problems[0].text.startswith("unfinished line")


def test_many_bad_lines_are_counted_not_kept(tmp_path):
    reading = read_log(write(tmp_path / "log.jsonl", *["x\n"] * 250))
    assert (reading.bad_lines, len(reading.problems)) == (250, 100)


def test_unknown_fields_are_kept_and_numbers_are_taken_as_other_tools_write_them(tmp_path):
    path = write(
        tmp_path / "trace.jsonl",
        call(7, 0, mood="good", output_tokens=12.0, ttft_s=1, cached_input_tokens=float("nan"), e2e_s=None),
    )
    (one,) = read_log(path).runs
    (only,) = one.calls
    assert one.run_id == "7"
    assert only.extra == {"mood": "good"}
    assert (only.output_tokens, only.ttft_s, only.cached_input_tokens, only.e2e_s) == (12, 1.0, None, None)


def test_parents_may_be_ids_or_positions(tmp_path):
    path = write(
        tmp_path / "trace.jsonl",
        call(index=0, call_id="x"),
        call(index=1, call_id="y", parents=["x"]),
        call(index=2, call_id="z", parents=[0, "y", "gone", 2, 99]),
    )
    assert read_log(path).runs[0].positions_of_parents() == [(), (0,), (0, 1)]


def test_times_within_the_run_are_inferred_from_the_wall_clock(tmp_path):
    path = write(
        tmp_path / "log.jsonl",
        call(at_s=1001.5),
        {"record": "attempt", "schema": 1, "run_id": "r1", "at_s": 1002.0},
        run(arrival_s=1000.0),
        call("r2", at_s=5.0),
        call("r2", index=1, at_s=7.0),
    )
    unfinished, finished = read_log(path).runs
    assert finished.calls[0].start_s == 1.5
    assert finished.attempts[0].start_s == 2.0
    assert (unfinished.line, unfinished.arrival_s, [one.start_s for one in unfinished.calls]) == (None, 5.0, [0.0, 2.0])


@pytest.mark.parametrize(
    ("fields", "met"),
    [
        ({"outcome": "ok", "deadline_s": 10, "elapsed_s": 10}, True),
        ({"outcome": "ok", "deadline_s": 10, "elapsed_s": 10.1}, False),
        ({"outcome": "error", "deadline_s": 10, "elapsed_s": 1}, False),
        ({"outcome": "ok", "slo": {"deadline_s": 10}, "elapsed_s": 11}, False),
        ({"outcome": "ok", "slo": {"max_cost_usd": 0.1}, "cost_usd": 0.2}, False),
        ({"outcome": "ok", "slo": {"max_cost_usd": 0.1}, "cost_usd": 0.1}, True),
        ({"outcome": "ok", "elapsed_s": 1}, None),
        ({"outcome": "ok", "deadline_s": 10}, None),
        ({"outcome": "late", "deadline_s": 10}, False),
        ({"deadline_s": 10}, None),
    ],
)
def test_when_a_run_met_its_slo(tmp_path, fields, met):
    assert read_log(write(tmp_path / "log.jsonl", run(**fields))).runs[0].met_slo is met


def test_one_run_can_be_picked_by_the_beginning_of_its_id(tmp_path):
    path = write(tmp_path / "log.jsonl", call("abc"), call("xyz", parents=["abc"]), call("abd"), call("né"))
    assert [one.run_id for one in read_log(path, run_id="ab").runs] == ["abc", "abd"]
    assert [one.run_id for one in read_log(path, run_id="né").runs] == ["né"]
    assert [one.run_id for one in read_log(path, keep=lambda one: one.run_id > "b").runs] == ["xyz", "né"]


# Files -----------------------------------------------------------------------------------------------------------


def test_rotated_and_packed_files_are_read_oldest_first(tmp_path):
    path = write(tmp_path / "log.jsonl", call("now"))
    write(tmp_path / "log.jsonl.2", call("older"))
    write(tmp_path / "log.jsonl.10", call("oldest"))
    (tmp_path / "log.jsonl.1.gz").write_bytes(gzip.compress(json.dumps(call("old")).encode() + b"\n"))
    write(tmp_path / "log.jsonl.bak", "not a log\n")
    write(tmp_path / "log.jsonl2", "not a log\n")
    names = ["log.jsonl.10", "log.jsonl.2", "log.jsonl.1.gz", "log.jsonl"]
    assert [os.path.basename(name) for name in log_files(path)] == names
    assert [one.run_id for one in read_log(path).runs] == ["oldest", "older", "old", "now"]
    assert log_files(tmp_path) == log_files(path) == log_files([path, tmp_path])


def test_a_rotated_file_alone_will_do(tmp_path):
    write(tmp_path / "log.jsonl.1", call("old"))
    assert [one.run_id for one in read_log(tmp_path / "log.jsonl").runs] == ["old"]


def test_a_damaged_archive_costs_its_rest_only(tmp_path):
    packed = gzip.compress(b"".join(json.dumps(call(f"r{i}")).encode() + b"\n" for i in range(10)))
    (tmp_path / "log.jsonl.1.gz").write_bytes(packed[:-10])
    (tmp_path / "log.jsonl.2.gz").write_bytes(b"no gzip at all")
    reading = read_log(write(tmp_path / "log.jsonl", call("now")))
    assert "now" in {one.run_id for one in reading.runs}
    assert reading.bad_lines == 2
    assert all("damaged gzip" in problem.text for problem in reading.problems)


@pytest.mark.parametrize(("name", "text"), [("gone.jsonl", "no such file"), ("empty", "holds no")])
def test_what_is_not_there_is_named(tmp_path, name, text):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=text) as caught:
        read_log(tmp_path / name)
    assert caught.value.file == str(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(tmp_path):
    path = write(tmp_path / "log.jsonl", call())
    path.chmod(0)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_log(path)


def test_a_file_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "log.jsonl", call())

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied") as caught:
        read_log(path)
    assert caught.value.file == str(path)


def test_notes_and_feedback_survive_the_log():
    note, feedback = read_back(Note(1.0, "a", "b"), Feedback("r1", 0.5, 2.0))
    assert (note.at_s, note.subject, note.text) == (1.0, "a", "b")
    assert (feedback.run_id, feedback.score, feedback.at_s) == ("r1", 0.5, 2.0)


def test_runs_travel_between_processes(tmp_path):
    (one,) = read_log(write(tmp_path / "log.jsonl", run(), call(mood=1))).runs
    assert pickle.loads(pickle.dumps(one)) == one


def test_half_a_character_does_not_get_to_who_prints_it(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"record": "run", "run_id": "r\ud800", "workflow": "w\udfff \U0001f600"}) + "\n")
    (run,) = read_log(path).runs
    assert (run.run_id, run.workflow) == ("r?", "w? \U0001f600")


def test_what_is_named_twice_is_read_once(tmp_path):
    """As a shell writes ``runs.jsonl*``: the rotated files belong to the first."""
    names = ["runs.jsonl", "runs.jsonl.1", "runs.jsonl.2.gz", "other.jsonl", "calls.csv"]
    for name in names:
        (tmp_path / name).write_text("")
    paths = [tmp_path / name for name in names]
    assert distinct(paths) == [paths[0], paths[3], paths[4]]
    assert distinct([paths[1], paths[0]]) == [paths[0]]
    assert distinct([paths[4], tmp_path / "x" / ".." / "calls.csv"]) == [paths[4]]
    assert distinct([paths[3], tmp_path]) == [tmp_path]
    assert distinct([tmp_path / "gone.jsonl"]) == [tmp_path / "gone.jsonl"]
