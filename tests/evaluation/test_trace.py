import gzip
import json
import sys

import pytest

from agentsched.errors import ConfigError
from agentsched.evaluation.trace import read_trace


def table(tmp_path, text: str, name: str = "calls.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def line(**fields) -> str:
    return json.dumps({"record": "call", "schema": 1, "run_id": "r"} | fields) + "\n"


def test_a_table_becomes_runs_in_order(tmp_path):
    path = table(
        tmp_path,
        "traj_id,agent,workload,step_idx,prompt_tokens,output_tokens,last_input_text\n"
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
    assert (first.prompt, second.prompt) == ("first", "second")
    assert runs[1].calls[0].input_tokens == 0


def test_our_own_names_go_before_the_others(tmp_path):
    path = table(tmp_path, "traj_id,run_id,out_tokens,output_tokens,max_tokens\ntheirs,ours,6,5,100\n,,6,,\n")
    first, second = read_trace([path])
    assert (first.run_id, first.calls[0].output_tokens, first.calls[0].max_tokens) == ("ours", 5, 100)
    assert second.calls[0].output_tokens == 6


def test_rows_without_a_run_are_runs_of_their_own_by_start(tmp_path):
    path = table(tmp_path, "arrival_s,output_tokens\n3.5,1\n1.5,2\n2.5,\n2.0,3.0\n")
    assert [run.calls[0].output_tokens for run in read_trace([path])] == [2, 3, 1]
    untold = table(tmp_path, "start_s,output_tokens\n3.5,1\nNaN,2\n", "untold.csv")
    assert [run.calls[0].output_tokens for run in read_trace([untold])] == [1, 2]


def test_public_traces_are_read_as_they_are(tmp_path):
    azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:04,4808,10\n2023-11-16 18:17:03,3180,8\n"
    mooncake = '{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}\n'
    runs = read_trace([table(tmp_path, azure, "azure.csv"), table(tmp_path, mooncake, "mooncake.jsonl")])
    assert [run.calls[0].output_tokens for run in runs] == [8, 10, 52]
    assert runs[2].calls[0].start_s == pytest.approx(27.482)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\ufeffrun_id, Output_Tokens\n ä\U0001f9ea, 5\n", "calls.CSV"),
        ('{"run_id": "ä\U0001f9ea", "output_tokens": 5, "more": {"a": [1]}}\n\n', "calls.jsonl"),
    ],
)
def test_tables_may_be_packed_and_their_names_in_any_case(tmp_path, text, name):
    packed = tmp_path / (name + ".gz")
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (table(tmp_path, text, name), packed):
        (run,) = read_trace([path])
        assert (run.run_id, run.calls[0].output_tokens) == ("ä\U0001f9ea", 5)


def test_prompts_may_be_long(tmp_path):
    (run,) = read_trace([table(tmp_path, f"output_tokens,prompt\n5,{'word ' * 50_000}\n")])
    assert len(run.calls[0].prompt) > 200_000


def test_parquet_is_read_as_csv_is(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet

    columns = {"traj_id": ["a", "a", "b"], "out_tokens": [4.0, None, float("nan")], "text": ["x", None, None]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "calls.parquet")
    (run,) = read_trace([tmp_path / "calls.parquet"])
    assert [call.output_tokens for call in run.calls] == [4]
    parquet.write_table(pyarrow.table({"output_tokens": [True]}), tmp_path / "flags.parquet")
    with pytest.raises(ConfigError, match=r"flags\.parquet:1: output_tokens: wrong value .given: True"):
        read_trace([tmp_path / "flags.parquet"])


def test_a_decision_log_is_a_trace(tmp_path):
    lines = [
        line(workflow="w", step="s", call_index=1, start_s=2.0, output_tokens=20, status="ok"),
        line(workflow="w", step="s", call_index=0, start_s=1.0, output_tokens=10, input_tokens=7, max_tokens=50),
        line(workflow="w", step="s", call_index=2, start_s=3.0, output_tokens=0, status="deadline"),
    ]
    (run,) = read_trace([table(tmp_path, "".join(lines), "log.jsonl")])
    assert [(call.output_tokens, call.input_tokens, call.max_tokens) for call in run.calls] == [
        (10, 7, 50),
        (20, 0, None),
    ]
    assert run.workflow == "w"


def test_lines_of_a_log_that_are_left_out_are_told(tmp_path):
    told: list[str] = []
    path = table(tmp_path, line(output_tokens=5) + "{oh\n" + line(output_tokens=-5), "log.jsonl")
    (run,) = read_trace([path], told.append)
    assert len(run.calls) == 1
    (text,) = told
    assert "2 unreadable lines left out; the first: " in text
    assert "log.jsonl:2: not JSON" in text


def test_half_a_packed_log_is_read_to_where_it_ends(tmp_path):
    packed = gzip.compress((line(output_tokens=5) * 50).encode())
    (tmp_path / "log.jsonl.gz").write_bytes(packed[:-9])
    told: list[str] = []
    (run,) = read_trace([tmp_path / "log.jsonl.gz"], told.append)
    assert len(run.calls) == 50
    assert "damaged gzip" in told[0]


def test_names_that_cannot_be_written_are_made_so(tmp_path):
    (run,) = read_trace([table(tmp_path, line(run_id="\ud800", workflow="\ud800w", output_tokens=5), "log.jsonl")])
    assert (run.run_id, run.workflow) == ("?", "?w")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a,b\n1,2\n", r"calls\.csv: output_tokens: no such column, or nothing in it .given: \['a', 'b'\]"),
        ("run_id;output_tokens\na;5\n", r"no such column, or nothing in it .given: \['run_id;output_tokens'\]"),
        ("output_tokens\nmany\n", r"calls\.csv:2: output_tokens: wrong value .given: 'many'.; allowed: an integer"),
        ("output_tokens\n5\n\n-1\n", r"calls\.csv:4: output_tokens: wrong value .given: '-1'"),
        ("output_tokens\n2.5\n", r"calls\.csv:2: output_tokens"),
        ("output_tokens\ninf\n", r"calls\.csv:2: output_tokens"),
        ("output_tokens\n1e300\n", "allowed: an integer from 0 to 1,000,000,000"),
        ("output_tokens\n" + "9" * 5000 + "\n", r"9{60}\.\.\.'\)"),
        ("agent,out_tokens,prompt_tokens\ns,5,x\n", r"calls\.csv:2: prompt_tokens: wrong value .given: 'x'"),
        ("start_s,output_tokens\nnoon,5\n", "start_s: wrong value .given: 'noon'.; allowed: a number of seconds, or a"),
        ("output_tokens,step\n5\n", r"calls\.csv:2: 1 values, but the head line names 2 columns"),
        ("output_tokens,output_tokens\n5,5\n", r"calls\.csv:1: a name twice in the head line"),
        ('output_tokens,step\n5,"a\n6,b\n', r"calls\.csv:3: not CSV: unexpected end of data"),
        ("", "says nothing"),
        ("output_tokens\n", "holds no answered call"),
        ("output_tokens\nnan\n0\n", "holds no answered call"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path, text, what):
    with pytest.raises(ConfigError, match=what):
        read_trace([table(tmp_path, text)])


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("notes.txt", "output_tokens\n5\n", r"notes\.txt:1: no line of a log: not JSON.*allowed: a decision log"),
        ("calls.json", '[{"output_tokens": 5}]\n', r"calls\.json:1: no line of a log: not a JSON object"),
        ("log.jsonl", line(output_tokens=5, input_tokens=10**30), r"run r, call None, input_tokens: wrong value"),
        ("log.jsonl", '{"record": "run", "run_id": "r"}\n', "holds no answered call"),
        ("deep.jsonl", '{"record":' + "[" * 100_000 + "\n", r"deep\.jsonl:1: not JSON"),
        ("calls.csv.gz", "not packed", r"calls\.csv\.gz: cannot be read"),
    ],
)
def test_what_is_wrong_in_other_files_is_named(tmp_path, name, text, what):
    with pytest.raises(ConfigError, match=what):
        read_trace([table(tmp_path, text, name)])


def test_files_that_are_not_there_or_damaged_are_named(tmp_path, monkeypatch):
    for name in ("gone.csv", "gone.jsonl"):
        with pytest.raises(ConfigError, match=rf"{name}: no such file"):
            read_trace([tmp_path / name])
    binary = tmp_path / "calls.csv"
    binary.write_bytes(b"output_tokens\n\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"calls\.csv: cannot be read: not UTF-8 text"):
        read_trace([binary])
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigError, match=r"folder\.csv: holds no \*\.jsonl file"):
        read_trace([tmp_path / "folder.csv"])
    damaged = tmp_path / "calls.parquet"
    damaged.write_bytes(b"PAR1 no more")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match="needs pyarrow"):
        read_trace([damaged])
    monkeypatch.undo()
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    with pytest.raises(ConfigError, match=r"calls\.parquet: cannot be read"):
        read_trace([damaged])
