import json
import math
from dataclasses import replace

import numpy as np
import pytest

from agentsched.core.records import Feedback, Note, Review
from agentsched.telemetry.encoding import LogEncoder


def test_a_call_line_holds_its_decisions_and_its_time_within_the_run(make, encode):
    lines = encode(
        make.run_opened(),
        make.decision("a1", at=100.5),
        make.decision("a2", at=101.75, endpoint="b", why="left"),
        make.call_ended(make.call(deadline_at=110.0, parents=("c0",), tool_s=0.25)),
    )
    (line,) = map(json.loads, lines)
    assert line["record"] == "call"
    assert line["schema"] == 1
    assert (line["start_s"], line["e2e_s"], line["slack_s"], line["tool_s"]) == (0.5, 2.0, 9.5, 0.25)
    assert line["at_s"] == 1_700_000_100.5
    assert line["parents"] == ["c0"]
    assert [(d["endpoint"], d["why"], d["after_s"]) for d in line["decisions"]] == [
        ("a", "first", 0.0),
        ("b", "left", 1.25),
    ]
    assert line["decisions"][0]["rivals"] == [["b", 0.7]]


def test_a_call_line_holds_the_second_thoughts_about_it(make, encode):
    kept = Review(103.5, "c.1", "keep", "the pool is overloaded", 0.25, 0.75, 0.125)
    none = Review(104.0, "c.1", "keep", "no other endpoint has room for it")
    (line,) = map(json.loads, encode(replace(make.call_ended(make.call("c")), reviews=(kept, none))))
    compared, other = line["reviews"]
    assert (compared["verdict"], compared["why"]) == ("keep", "the pool is overloaded")
    assert (compared["p_stay"], compared["p_switch"], compared["p_dead"]) == (0.25, 0.75, 0.125)
    assert (other["why"], other["p_stay"]) == (none.why, None)


def test_decisions_of_one_call_do_not_reach_the_next(make, encode):
    first, second = map(
        json.loads, encode(make.decision(), make.call_ended(), make.call_ended(make.call("c2", call_index=1)))
    )
    assert len(first["decisions"]) == 1
    assert second["decisions"] == []


def test_without_the_run_s_beginning_only_the_wall_clock_is_told(make, encode):
    call, attempt = map(json.loads, encode(make.call_ended(), make.attempt()))
    assert call["start_s"] is None
    assert attempt["start_s"] is None
    assert call["at_s"] == attempt["at_s"] == 1_700_000_100.5


def test_a_run_line_tells_the_bound_that_held_beside_the_deadline_asked_for(make, encode):
    (line,) = map(json.loads, encode(make.run_closed(make.run(deadline_at=104.0, deadline_s=10.0, max_cost_usd=0.5))))
    assert (line["deadline_s"], line["bound_s"], line["elapsed_s"]) == (10.0, 4.0, 3.0)
    assert line["slo"] == {
        "deadline_s": 10.0,
        "percentile": 0.95,
        "max_cost_usd": 0.5,
        "min_quality": 0.0,
        "priority": 0,
        "on_late": "raise",
    }
    assert line["arrival_s"] == 1_700_000_100.0


def test_notes_and_feedback(encode):
    note, feedback = map(json.loads, encode(Note(1.5, "b", "breaker opened"), Feedback("r1", 0.75, 2.0)))
    assert note == {"record": "note", "schema": 1, "at_s": 1_700_000_001.5, "subject": "b", "text": "breaker opened"}
    assert feedback == {"record": "feedback", "schema": 1, "run_id": "r1", "at_s": 1_700_000_002.0, "score": 0.75}


def test_numbers_are_rounded_to_the_microsecond(make, encode):
    (line,) = encode(make.attempt(ttft_s=1 / 3, cost_usd=1.23456789e-7))
    assert b'"ttft_s":0.333333,' in line
    assert json.loads(line)["cost_usd"] == 1.23e-07
    assert line.endswith(b"\n")


def test_what_has_no_form_in_json_is_null_and_numpy_scalars_have_one(make, encode):
    (line,) = map(
        json.loads,
        encode(
            make.attempt(predicted_e2e_s=math.inf, e2e_s=np.float64(2.5), output_tokens=np.int64(7), ttft_s=math.nan)
        ),
    )
    assert (line["predicted_e2e_s"], line["e2e_s"], line["output_tokens"], line["ttft_s"]) == (None, 2.5, 7, None)


def test_prompts_are_written_only_when_allowed(make, encode):
    ended = make.call_ended(make.call(prompt_head="my secret plan"))
    assert b"secret" not in b"".join(encode(ended))
    assert json.loads(encode(ended, prompts=True)[0])["prompt"] == "my secret plan"


def test_a_large_pool_does_not_make_large_lines(make, encode):
    rivals = tuple((f"endpoint-{i}", -float(i)) for i in range(512))
    (line,) = map(json.loads, encode(make.decision(rivals=rivals), make.call_ended()))
    assert line["decisions"][0]["rivals"] == [[f"endpoint-{i}", -float(i)] for i in range(8)]


def test_lines_are_plain_ascii_whatever_people_write(make, encode):
    (line,) = encode(make.call_ended(detail="é\u2028\ud800"))
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert json.loads(line)["detail"] == "é\u2028\ud800"


def test_what_is_no_record_is_refused():
    with pytest.raises(TypeError, match="not a record of the decision log: int"):
        LogEncoder(wall_offset_s=0.0, prompts=False).line(3)


def test_beginnings_without_ends_do_not_pile_up(make, monkeypatch):
    monkeypatch.setattr("agentsched.telemetry.encoding._REMEMBERED", 2)
    encoder = LogEncoder(wall_offset_s=0.0, prompts=False)
    for i in range(4):
        encoder.line(make.run_opened(run_id=f"r{i}"))
        encoder.line(make.decision(call_id=f"c{i}"))
    oldest, newest = (json.loads(encoder.line(make.attempt(run_id=name))) for name in ("r0", "r3"))
    assert (oldest["start_s"], newest["start_s"]) == (None, 0.5)
    kept = [json.loads(encoder.line(make.call_ended(make.call(f"c{i}"))))["decisions"] for i in range(4)]
    assert list(map(len, kept)) == [0, 0, 1, 1]
