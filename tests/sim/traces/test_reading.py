"""Recorded runs from logs and tables, and what is said of those that are wrong."""

import gzip
import json
import sys
from pathlib import Path

import pytest

from agentsched.errors import ConfigError
from agentsched.sim.traces.reading import read_arrivals, read_runs, read_trace

DATA = Path("../shared/data")
LOG = [
    {"record": "call", "run_id": "a", "workflow": "w", "step": "plan", "input_tokens": 10, "output_tokens": 5},
    {"record": "run", "run_id": "a", "arrival_s": 100.5, "deadline_s": 20, "outcome": "ok", "elapsed_s": 3.0},
]


def lines(*records: dict) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_a_log_is_known_by_its_first_line(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    path.write_text(lines(*LOG), encoding="utf-8")
    (run,) = read_runs(path)
    assert (run.workflow, run.arrival_s, run.deadline_s, run.calls[0].output_tokens) == ("w", 100.5, 20.0, 5)
    assert read_runs(tmp_path)[0].run_id == "a"


@pytest.mark.parametrize("name", ["decisions.log", "decisions", "log.jsonl.2"])
def test_a_log_may_have_any_name(tmp_path: Path, name: str):
    (tmp_path / name).write_text(lines(*LOG), encoding="utf-8")
    assert read_runs(tmp_path / name)[0].calls[0].output_tokens == 5


def test_a_table_of_calls_makes_runs_with_their_calls_in_order(tmp_path: Path):
    path = tmp_path / "calls.csv"
    path.write_text(
        "run_id,step,call_index,parents,prompt_tokens,output_tokens,tool_s,arrival_s,remark\n"
        "a,write,2,0;1,300,70,0.5,,x\n"
        "b,only,0,,10,20,,7.5,\n"
        "a,plan,0,,100,50,,3.25,\n"
        "a,search,1,[0],200,60,,,\n",
        encoding="utf-8",
    )
    first, second = read_runs(path)
    assert [(run.run_id, run.arrival_s) for run in (first, second)] == [("a", 3.25), ("b", 7.5)]
    assert [(call.step, call.input_tokens, call.output_tokens) for call in first.calls] == [
        ("plan", 100, 50),
        ("search", 200, 60),
        ("write", 300, 70),
    ]
    assert first.positions_of_parents() == [(), (0,), (0, 1)]
    assert (first.calls[2].tool_s, first.calls[0].tool_s) == (0.5, None)


AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n"
)
MOONCAKE = lines(
    {"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]},
    {"timestamp": 3052, "input_length": 7322, "output_length": 490, "hash_ids": [0, 14]},
)


@pytest.mark.parametrize(
    ("name", "text", "times", "tokens"),
    [
        ("azure.csv", AZURE, [0.0, 0.052], [(4808, 10), (3180, 8)]),
        ("mooncake.jsonl", MOONCAKE, [0.0, 3.052], [(6758, 500), (7322, 490)]),
        ("only.jsonl", lines({"arrival_s": 5}, {"arrival_s": 7.5}), [0.0, 2.5], [(None, None)] * 2),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_public_traces_of_requests_are_runs_of_one_call(tmp_path: Path, packed, name, text, times, tokens):
    path = tmp_path / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert read_arrivals(path) == pytest.approx(times)
    calls = [call for run in read_runs(path) for call in run.calls]
    assert [(call.input_tokens, call.output_tokens) for call in calls] == tokens


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "prompt_tokens,output_tokens\n10,5\n10,many\n", ["t.csv:3", "output_tokens: 'many' is not a number"]),
        ("t.csv", "prompt_tokens,output_tokens\n10,5\n10,-5\n", ["t.csv:3", "output_tokens", "an integer from 0 on"]),
        ("t.csv", "prompt_tokens,output_tokens\n10,nan\n", ["t.csv:2", "not a finite number"]),
        ("t.csv", "prompt_tokens,output_tokens\n10,5,6\n", ["t.csv:2", "3 values, but the head line names 2"]),
        ("t.csv", "timestamp,output_tokens\nnoon,5\n", ["t.csv:2", "timestamp", "neither a number of seconds nor"]),
        ("t.csv", "", ["t.csv", "says nothing"]),
        ("t.csv", "a,b\n1,2\n", ["t.csv:2", "no column tells tokens or arrivals", "input_tokens"]),
        ("t.csv", "prompt_tokens,output_tokens\n", ["t.csv", "holds no run"]),
        ("t.jsonl", '{"output_tokens": 4}\n{"output_tokens": [4]}\n', ["t.jsonl:2", "output_tokens", "[4]"]),
        ("t.jsonl", '{"output_tokens": 4}\n[1]\n', ["t.jsonl:2", "not a JSON object"]),
        ("t.jsonl", '{"output_tokens": 4}\n{oh\n', ["t.jsonl:2", "not JSON"]),
        ("t.jsonl", '{"output_tokens": 4, "parents": "[0"}\n', ["t.jsonl:1", "parents", "not a list"]),
        (
            "t.jsonl",
            lines(*LOG, {"record": "call", "run_id": "a", "output_tokens": "x"}),
            ["t.jsonl:3", "output_tokens"],
        ),
        ("t.txt", "x", ["not a trace", ".parquet"]),
        ("t.csv.gz", "not packed", ["cannot be read"]),
        ("t.parquet", "PAR?", ["cannot be read"]),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_field(tmp_path: Path, name, text, said):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="reading Parquet needs pyarrow")
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_runs(path)
    for words in said:
        assert words in str(caught.value)


def test_bad_lines_of_a_log_may_be_skipped_and_are_told(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    path.write_text(lines(*LOG) + "{oh\n", encoding="utf-8")
    reading = read_trace(path)
    assert (len(reading.runs), reading.bad_lines, reading.problems[0].line) == (1, 1, 3)
    (tmp_path / "log.jsonl.1").write_text("{half a li\n" + lines(*LOG[:1]).replace('"a"', '"b"'), encoding="utf-8")
    assert [run.run_id for run in read_trace(tmp_path / "log.jsonl.1").runs] == ["b"]
    assert read_trace(path).bad_lines == 2


def test_no_such_file_and_no_arrivals(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file"):
        read_runs(tmp_path / "nothing.csv")
    (tmp_path / "t.csv").write_text("prompt_tokens,output_tokens\n1,2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="tells no arrivals"):
        read_arrivals(tmp_path / "t.csv")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r"pip install 'agentsched\[traces\]'"):
        read_runs(tmp_path / "t.parquet")


def test_parquet_tables(tmp_path: Path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table(
        {
            "traj_id": ["a", "a"],
            "agent": ["x", "y"],
            "prompt_tokens": [5, None],
            "output_tokens": [1, 2],
            "text": ["", ""],
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    (run,) = read_runs(tmp_path / "t.parquet")
    assert [(call.step, call.input_tokens, call.output_tokens) for call in run.calls] == [("x", 5, 1), ("y", None, 2)]


@pytest.mark.parametrize(
    ("name", "runs", "calls"),
    [("agent_trajectories/calls", 311, 4756), ("traces/azure_llm_2023_code", 8819, 8819)],
)
def test_the_shared_recordings(name, runs, calls):
    pytest.importorskip("pyarrow")
    path = DATA / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"needs {path}")
    found = read_runs(path)
    assert (len(found), sum(len(run.calls) for run in found)) == (runs, calls)
