import json

import pytest

from agentsched.errors import ConfigError
from agentsched.evaluation.trace import read_trace


def table(tmp_path, text: str, name: str = "calls.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_table_becomes_runs_in_order(tmp_path):
    path = table(
        tmp_path,
        "traj_id,agent,workload,step_idx,prompt_tokens,output_tokens,note\n"
        "a,plan,w,1,10,5,second\na,plan,w,0,11,7,first\nb,act,w,0,,9,\na,plan,other,0,1,3,\n",
    )
    runs = read_trace([path])
    assert [(run.workflow, run.run_id, len(run.calls)) for run in runs] == [
        ("w", "a", 2),
        ("w", "b", 1),
        ("other", "a", 1),
    ]
    first, second = runs[0].calls
    assert (first.output_tokens, first.input_tokens, first.step) == (7, 11, "plan")
    assert (first.extra, second.extra) == ({"note": "first"}, {"note": "second"})
    assert runs[1].calls[0].input_tokens == 0


def test_our_own_names_go_before_the_others(tmp_path):
    path = table(tmp_path, "run_id,traj_id,output_tokens,max_tokens\nours,theirs,5,100\n")
    run = read_trace([path])[0]
    assert run.run_id == "ours"
    assert run.calls[0].max_tokens == 100
    assert run.calls[0].extra == {"traj_id": "theirs"}


def test_rows_without_a_run_are_runs_of_their_own_by_start(tmp_path):
    path = table(tmp_path, "arrival_s,output_tokens\n3.5,1\n1.5,2\n2.5,\n2.0,3.0\n")
    assert [run.calls[0].output_tokens for run in read_trace([path])] == [2, 3, 1]


def test_parquet_is_read_as_csv_is(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet

    columns = {"traj_id": ["a", "a"], "out_tokens": [4.0, None], "text": ["x", None]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "calls.parquet")
    (run,) = read_trace([tmp_path / "calls.parquet"])
    assert [call.output_tokens for call in run.calls] == [4]
    assert run.calls[0].extra == {"text": "x"}


def test_a_decision_log_is_a_trace(tmp_path):
    head = {"record": "call", "schema": 1, "run_id": "r", "workflow": "w"}
    lines = [
        head | {"step": "s", "call_index": 1, "start_s": 2.0, "output_tokens": 20, "status": "ok"},
        head | {"step": "s", "call_index": 0, "start_s": 1.0, "output_tokens": 10, "input_tokens": 7, "max_tokens": 50},
        head | {"step": "s", "call_index": 2, "start_s": 3.0, "output_tokens": 0, "status": "deadline"},
    ]
    path = table(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), "log.jsonl")
    (run,) = read_trace([path])
    assert [(call.output_tokens, call.input_tokens, call.max_tokens) for call in run.calls] == [
        (10, 7, 50),
        (20, 0, None),
    ]
    assert run.workflow == "w"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a,b\n1,2\n", r"calls\.csv: output_tokens: no such column .given: \['a', 'b'\]"),
        ("output_tokens\nmany\n", r"row 1, column output_tokens: wrong value .given: 'many'.; allowed: an integer"),
        ("output_tokens\n5\n-1\n", r"row 2, column output_tokens: wrong value .given: '-1'"),
        ("output_tokens\n2.5\n", r"row 1, column output_tokens"),
        ("output_tokens\ninf\n", r"row 1, column output_tokens"),
        ("agent,out_tokens,prompt_tokens\ns,5,x\n", r"row 1, column prompt_tokens: wrong value .given: 'x'"),
        ("output_tokens,step\n5\n", r"calls\.csv:2: a row of 1 values; allowed: 2, as the header"),
        ("output_tokens,output_tokens\n5,5\n", r"calls\.csv:1: no header, or one with a name twice"),
        ("", "no header"),
        ("output_tokens\n", "holds no answered call"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, what):
    with pytest.raises(ConfigError, match=what):
        read_trace([table(tmp_path, text)])


def test_files_that_are_not_there_or_damaged_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.csv: no such file"):
        read_trace([tmp_path / "gone.csv"])
    with pytest.raises(ConfigError, match=r"gone\.jsonl"):
        read_trace([tmp_path / "gone.jsonl"])
    damaged = tmp_path / "calls.parquet"
    damaged.write_bytes(b"PAR1 no more")
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    with pytest.raises(ConfigError, match=r"calls\.parquet: not readable as Parquet"):
        read_trace([damaged])
    binary = tmp_path / "calls.csv"
    binary.write_bytes(b"output_tokens\n\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"calls\.csv: not readable as CSV"):
        read_trace([binary])
