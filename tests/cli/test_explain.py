import json
from textwrap import dedent

import pytest
from click.testing import CliRunner

from agentsched.cli.explain import command
from agentsched.errors import ConfigError


def line(record, run_id="r-7f3a", **fields):
    return {"record": record, "schema": 1, "run_id": run_id, "workflow": "answer"} | fields


def call(index, step, start_s, e2e_s, *, planned_s=None, predicted=100, **fields):
    decisions = []
    if planned_s is not None:
        decisions = [{"attempt_id": f"c{index}.1", "why": "first", "predicted_e2e_s": planned_s, "p_meet": 0.93}]
        decisions[0] |= {"predicted_ttft_s": 0.3, "predicted_output_tokens": predicted}
    made = {"call_id": f"c{index}", "call_index": index, "step": step, "start_s": start_s, "e2e_s": e2e_s}
    made |= {"status": "ok", "retries": 0, "queued_s": 0.0, "input_tokens": 1000, "output_tokens": predicted}
    return line("call", **(made | {"decisions": decisions} | fields))


def attempt(index, number, endpoint, start_s, e2e_s, status="ok", **fields):
    made = {"attempt_id": f"c{index}.{number}", "call_id": f"c{index}", "endpoint": endpoint, "start_s": start_s}
    return line("attempt", **(made | {"e2e_s": e2e_s, "status": status} | fields))


LATE_RUN = [
    # plan: as planned
    call(0, "plan", 0.1, 1.3, planned_s=1.2, endpoint="a", ttft_s=0.35),
    attempt(0, 1, "a", 0.1, 1.3, ttft_s=0.35),
    # three parallel calls; the second meets a limit, waits, and is the one the run waits for
    call(1, "research", 1.9, 2.2, planned_s=2.0, endpoint="a", ttft_s=0.4, parents=["c0"], tool_s=0.5),
    attempt(1, 1, "a", 1.9, 2.2, ttft_s=0.4),
    call(2, "research", 1.9, 3.1, planned_s=2.0, endpoint="b", ttft_s=0.9, parents=["c0"], tool_s=0.5, retries=1),
    attempt(2, 1, "c", 1.9, 0.2, "limited", detail="HTTP 429"),
    attempt(2, 2, "b", 2.4, 2.6, ttft_s=0.4),
    call(3, "research", 1.9, 1.3, planned_s=1.5, endpoint="a", parents=["c0"], tool_s=0.5),
    attempt(3, 1, "a", 1.9, 1.3),
    # write: its first endpoint is silent and left, the second is cut off by the deadline
    call(
        4,
        "write",
        5.2,
        4.8,
        planned_s=2.0,
        parents=["c1", "c2", "c3"],
        tool_s=0.2,
        status="deadline",
        retries=1,
        output_tokens=40,
    ),
    attempt(4, 1, "b", 5.2, 3.4, "silent", detail="no sign of life for 3.40 s"),
    attempt(4, 2, "a", 8.6, 1.4, "deadline", ttft_s=0.5),
    line(
        "run",
        outcome="deadline",
        deadline_s=10.0,
        elapsed_s=10.02,
        arrival_s=1_790_000_000.0,
        tenant="acme",
        parent_run_id="r-outer",
        cost_usd=0.01234,
    ),
]


@pytest.fixture
def late_log(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in LATE_RUN))
    return path


def ask(path, *arguments, width=100, env=None):
    result = CliRunner().invoke(command, [*arguments, "--log", str(path)], env={"COLUMNS": str(width)} | (env or {}))
    assert result.exit_code == 0, result.output
    return result.output


def refuse(*arguments):
    with pytest.raises(ConfigError) as caught:
        CliRunner().invoke(command, arguments, catch_exceptions=False)
    return str(caught.value)


def screen(text):
    return "\n".join(row.rstrip() for row in text.splitlines())


def test_the_whole_screen(late_log):
    assert screen(ask(late_log, "r-7f3a")) == dedent(
        """\
        run r-7f3a  workflow answer  tenant acme
        stopped at its deadline: 10.02 s of 10.00 s, 0.02 s late
        5 calls, 7 attempts, 2 retries, 5,000 + 440 tokens, 0.0123 USD, began 2026-09-21 14:13:20 UTC
        started by run r-outer

          step        planned  spent endpoint 0 s                                                    10.02 s
        * plan           1.20   1.30 a        ─░░██████                                                    │
          research #1    2.00   2.20 a                   ░░░███████████                                    │
        * research #2    2.00   3.10 b                ───××··░░██████████████                              │
          research #3    1.50   1.30 a                   ▓▓▓▓▓▓▓▓▓                                         │
        * write          2.00   4.80 -                                      ──××××××××××××××××××××××××××××××

        * critical path: × lost attempts 5.00 s (50 %), █ decode 3.15 s (31 %), ─ tools and own code 0.82 s
        (8 %), ░ prefill (to first token) 0.75 s (7 %), · queue 0.30 s (3 %); │ deadline

        attempts
          research #2  at 1.90 s to c (first, expected 2.00 s, P(meet) 0.93): limited after 0.20 s, HTTP 429
                       at 2.40 s to b: ok after 2.60 s
          write  at 5.20 s to b (first, expected 2.00 s, P(meet) 0.93): silent after 3.40 s, no sign of life
        for 3.40 s
                 at 8.60 s to a: deadline after 1.40 s

        step write: 4.80 s of 2.00 s planned: endpoint b was silent for 3.40 s, left; endpoint a had not
        finished when the deadline came, after 1.40 s."""
    )


@pytest.mark.parametrize("width", [40, 60, 80, 132])
def test_it_fits_the_screen_it_is_given(late_log, width):
    assert max(map(len, ask(late_log, "r-7f3a", width=width).splitlines())) <= width


def test_no_colours_where_nobody_looks_and_plain_characters_where_others_fail(late_log, monkeypatch):
    assert "\x1b" not in ask(late_log, "last")
    result = CliRunner(charset="ascii").invoke(command, ["last", "--log", str(late_log)], env={"COLUMNS": "100"})
    assert result.exit_code == 0
    assert "* plan           1.20   1.30 a        -::######" in result.output
    assert result.output.isascii()


def test_json_tells_the_same(late_log):
    told = json.loads(ask(late_log, "last", "--json"))
    assert (told["run_id"], told["outcome"], told["met_slo"], told["slack_s"]) == (
        "r-7f3a",
        "deadline",
        False,
        pytest.approx(-0.02),
    )
    assert told["slip"]["step"] == "write"
    assert told["spent_s"] == {"queue": 0.3, "lost": 5.0, "prefill": 0.75, "decode": 3.15, "model": 0.0, "tool": 0.82}
    assert [
        (one["step"], one["calls"], one["planned_s"], one["spent_s"], one["critical_s"]) for one in told["steps"]
    ] == [
        ("plan", 1, 1.2, 1.3, 1.3),
        ("research", 3, 5.5, 6.6, 3.1),
        ("write", 1, 2.0, 4.8, 4.8),
    ]
    assert [one["critical"] for one in told["timeline"]] == [True, False, True, False, True]
    assert [one["status"] for one in told["timeline"][2]["attempts"]] == ["limited", "ok"]
    assert told["timeline"][2]["segments"] == [
        ["lost", 1.9, 2.1],
        ["queue", 2.1, 2.4],
        ["prefill", 2.4, 2.8],
        ["decode", 2.8, 5.0],
    ]


def write_runs(path, *runs):
    path.write_text("".join(json.dumps(line("run", **fields)) + "\n" for fields in runs))
    return path


def test_last_and_worst_look_at_ended_runs_of_the_workflow(tmp_path):
    path = write_runs(
        tmp_path / "log.jsonl",
        {"run_id": "slow", "arrival_s": 1.0, "elapsed_s": 50.0, "deadline_s": 100.0, "outcome": "ok"},
        {"run_id": "late", "arrival_s": 10.0, "elapsed_s": 3.0, "deadline_s": 2.0, "outcome": "deadline"},
        {"run_id": "other", "arrival_s": 12.0, "elapsed_s": 9.0, "workflow": "other", "outcome": "ok"},
    )
    assert [ask(path, which).split()[1] for which in ("last", "worst")] == ["slow", "late"]
    assert ask(path, "worst", "--workflow", "other").split()[1] == "other"
    assert ask(path, "sl").split()[1] == "slow"


@pytest.mark.parametrize(
    ("which", "text"),
    [
        ("zzz", "no such run (given: 'zzz')"),
        ("r", "RUN: means 7 runs (given: 'r'); allowed: more of one of r0, r1, r2, r3, r4, ..."),
    ],
)
def test_a_run_that_is_not_one_is_refused(tmp_path, which, text):
    path = write_runs(tmp_path / "log.jsonl", *({"run_id": f"r{i}", "arrival_s": i} for i in range(7)))
    assert text in refuse(which, "--log", str(path))


def test_a_whole_id_is_enough_though_others_begin_with_it(tmp_path):
    path = write_runs(tmp_path / "log.jsonl", {"run_id": "r1", "elapsed_s": 1.0}, {"run_id": "r12", "elapsed_s": 1.0})
    assert ask(path, "r1").split()[1] == "r1"


@pytest.mark.parametrize(
    ("arguments", "text"), [(["last"], "no ended run in the log"), (["last", "--workflow", "w"], "'w'")]
)
def test_a_log_without_ended_runs_is_refused(tmp_path, arguments, text):
    (tmp_path / "log.jsonl").write_text(json.dumps(line("call")) + "\n")
    assert text in refuse(*arguments, "--log", str(tmp_path / "log.jsonl"))


def test_a_missing_log_is_named(tmp_path):
    assert refuse("last", "--log", str(tmp_path / "gone.jsonl")).startswith(f"{tmp_path / 'gone.jsonl'}: no such file")


def test_the_log_may_come_from_the_configuration(late_log, tmp_path):
    pool = tmp_path / "pool.yaml"
    pool.write_text(
        "version: 1\nendpoints: [{name: a, base_url: 'http://127.0.0.1:9/v1', model: m}]\nlog: {path: log.jsonl}\n"
    )
    result = CliRunner().invoke(command, ["last"], env={"AGENTSCHED_CONFIG": str(pool)})
    assert result.output.startswith("run r-7f3a")


def test_no_key_need_be_set_to_read_a_log(late_log, tmp_path, monkeypatch):
    monkeypatch.delenv("UNSET_KEY", raising=False)
    pool = tmp_path / "pool.yaml"
    endpoint = "{name: a, base_url: 'http://127.0.0.1:9/v1', model: m, api_key: '${UNSET_KEY}'}"
    pool.write_text(f"version: 1\nendpoints: [{endpoint}]\nlog: {{path: log.jsonl}}\n")
    asked = {"AGENTSCHED_CONFIG": str(pool)}
    assert CliRunner().invoke(command, ["last"], env=asked).output.startswith("run r-7f3a")
    pool.write_text(f"version: 1\nendpoints: [{endpoint}]\nlog: {{path: log.jsonl, backups: many}}\n")
    told = CliRunner().invoke(command, ["last"], env=asked).exception
    assert isinstance(told, ConfigError)
    assert "log.backups" in str(told)


def test_without_any_log_it_says_how_to_name_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENTSCHED_CONFIG", raising=False)
    assert "no decision log was named" in refuse("last")


def test_a_run_that_has_not_ended_and_one_without_calls(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(call(0, "plan", 0.5, 1.0)) + "\n")
    told = ask(path, "r-7")
    assert "not ended in this log: 1.50 s, no deadline" in told
    assert "The log tells no more." in told
    write_runs(path, {"deadline_s": 10.0, "elapsed_s": 1.0, "outcome": "ok"})
    assert "ok: 1.00 s of 10.00 s, 9.00 s to spare" in ask(path, "r-7")


def test_what_was_thought_about_and_not_done_is_told(tmp_path):
    thoughts = [
        {"attempt_id": "c0.1", "after_s": 0.8, "verdict": "keep", "why": "the pool is overloaded", "p_stay": 0.2}
        | {"p_switch": 0.7},
        {"attempt_id": "c0.1", "after_s": 1.3, "verdict": "hedge", "why": "two attempts are likelier"},
        {"attempt_id": "gone", "after_s": 1.4, "verdict": "keep", "why": "it is busy"},
    ]
    made = call(0, "plan", 0.1, 1.6, planned_s=0.5, reviews=thoughts)
    made["decisions"][0]["endpoint"] = "a"
    lines = [made, attempt(0, 1, "a", 0.1, 1.6), line("run", elapsed_s=1.7, deadline_s=3.0, outcome="ok")]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    told = ask(path, "r-7f3a")
    assert "at 0.90 s kept at a: the pool is overloaded (in time: 0.20 there, 0.70 elsewhere)" in told
    assert "at 1.50 s kept at its endpoint: it is busy" in told
    assert "likelier" not in told, "the attempt that it led to tells of it"
    reviews = json.loads(ask(path, "r-7f3a", "--json"))["timeline"][0]["reviews"]
    assert [(one["verdict"], one["endpoint"]) for one in reviews] == [("keep", "a"), ("hedge", "a"), ("keep", None)]


def test_of_many_calls_the_longest_are_shown(tmp_path):
    path = tmp_path / "log.jsonl"
    calls = [call(i, "loop", 0.1 * i, 0.1 + 0.001 * i, parents=[f"c{i - 1}"] if i else []) for i in range(40)]
    path.write_text("".join(json.dumps(one) + "\n" for one in calls))
    told = ask(path, "r-7f3a")
    assert "and 20 shorter calls" in told
    assert "loop #39" in told
    assert "loop #3 " not in told


def test_bad_lines_are_mentioned_beside_the_screen(late_log):
    with late_log.open("a") as file:
        file.write('{"r-7f3a" broken\n')
    result = CliRunner().invoke(command, ["r-7f3a", "--log", str(late_log)])
    assert "1 lines could not be read, the first:" in result.stderr
    assert f"{late_log}:14:" in result.stderr


def test_a_log_of_which_nothing_can_be_read_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({**line("run"), "schema": 99}) + "\n")
    text = refuse("last", "--log", str(path))
    assert text.startswith(
        f"{path}: RUN: no ended run in the log (1 lines could not be read, the first: {path}:1: schema"
    )


def test_a_run_that_began_in_milliseconds_is_explained(tmp_path):
    path = write_runs(tmp_path / "log.jsonl", {"run_id": "r1", "arrival_s": 1.79e12, "elapsed_s": 1.0})
    assert "began 1.79e+12 s UTC" in ask(path, "r1")
