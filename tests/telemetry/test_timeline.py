import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.telemetry.run_log import AttemptLog, CallLog, RunLine, RunLog
from agentsched.telemetry.timeline import timeline


def call(index, start_s, e2e_s, **fields):
    return CallLog("r", call_id=f"c{index}", call_index=index, start_s=start_s, e2e_s=e2e_s, status="ok")._replace(
        **fields
    )


def attempt(index, start_s, e2e_s, status="ok", **fields):
    made = AttemptLog("r", call_id=f"c{index}", start_s=start_s, e2e_s=e2e_s, status=status, endpoint="a")
    return made._replace(**fields)


def run(*parts, elapsed_s=None):
    line = None if elapsed_s is None else RunLine("r", elapsed_s=elapsed_s)
    calls = [part for part in parts if isinstance(part, CallLog)]
    return RunLog("r", line, calls, [part for part in parts if isinstance(part, AttemptLog)])


def segments(span):
    return [(one.kind, round(one.start_s, 6), round(one.end_s, 6)) for one in span.segments]


def split(*parts):
    return segments(timeline(run(*parts)).spans[0])


def test_an_answered_call_is_queue_prefill_and_decode():
    assert split(call(0, 1.0, 3.0), attempt(0, 1.5, 2.5, ttft_s=0.5)) == [
        ("queue", 1.0, 1.5),
        ("prefill", 1.5, 2.0),
        ("decode", 2.0, 4.0),
    ]


def test_time_under_failed_attempts_is_lost_and_between_them_waited():
    parts = (
        call(0, 0.0, 5.0),
        attempt(0, 0.0, 1.0, "silent"),
        attempt(0, 1.5, 0.5, "server"),
        attempt(0, 2.0, 3.0, ttft_s=1.0),
    )
    assert split(*parts) == [
        ("lost", 0.0, 1.0),
        ("queue", 1.0, 1.5),
        ("lost", 1.5, 2.0),
        ("prefill", 2.0, 3.0),
        ("decode", 3.0, 5.0),
    ]


def test_a_hedge_that_lost_costs_only_what_passed_before_the_winner_started():
    parts = (call(0, 0.0, 3.0), attempt(0, 0.0, 3.0, "cancelled"), attempt(0, 1.0, 2.0, ttft_s=0.5))
    assert split(*parts) == [("lost", 0.0, 1.0), ("prefill", 1.0, 1.5), ("decode", 1.5, 3.0)]


def test_a_call_that_failed_is_lost_and_waiting_only():
    parts = (call(0, 0.0, 3.0, status="deadline"), attempt(0, 0.5, 1.0, "reset", ttft_s=0.1))
    assert split(*parts) == [("queue", 0.0, 0.5), ("lost", 0.5, 1.5), ("queue", 1.5, 3.0)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ttft_s": 1.0, "queued_s": 0.4}, [("queue", 0.0, 0.4), ("prefill", 0.4, 1.0), ("decode", 1.0, 3.0)]),
        ({"ttft_s": 1.0}, [("prefill", 0.0, 1.0), ("decode", 1.0, 3.0)]),
        ({}, [("model", 0.0, 3.0)]),
        ({"queued_s": 9.0}, [("queue", 0.0, 3.0)]),
        ({"ttft_s": 9.0}, [("prefill", 0.0, 3.0)]),
        ({"status": "limited"}, [("queue", 0.0, 3.0)]),
        ({"status": None, "ttft_s": 3.0}, [("prefill", 0.0, 3.0)]),
    ],
)
def test_without_attempts_the_call_s_own_times_split_it(fields, expected):
    assert split(call(0, 0.0, 3.0, **fields)) == expected


def test_an_answer_whose_attempt_is_missing_is_split_by_the_call():
    parts = (call(0, 0.0, 3.0, ttft_s=2.0, queued_s=0.5), attempt(0, 0.0, 0.5, "server"))
    assert split(*parts) == [("queue", 0.0, 0.5), ("prefill", 0.5, 2.0), ("decode", 2.0, 3.0)]


def test_the_critical_path_goes_through_the_slowest_branch():
    laid = timeline(
        run(
            call(0, 0.5, 1.0),
            call(1, 2.0, 1.0, parents=("c0",)),
            call(2, 2.0, 3.0, parents=("c0",)),
            call(3, 6.0, 1.0, parents=("c1", "c2")),
            elapsed_s=8.0,
        )
    )
    assert [span.position for span in laid.critical()] == [0, 2, 3]
    assert [span.gap_s for span in laid.critical()] == [0.5, 0.5, 1.0]
    assert laid.tail_s == 1.0
    assert laid.spent() == {"queue": 0, "lost": 0, "prefill": 0, "decode": 0, "model": 5.0, "tool": 3.0}


def test_without_parents_a_call_waited_for_the_latest_that_had_ended():
    laid = timeline(run(call(0, 0.0, 1.0), call(1, 0.0, 2.0), call(2, 1.9995, 1.0), call(3, 1.5, 1.0)))
    assert [span.position for span in laid.critical()] == [1, 2]


def test_calls_without_times_are_placed_after_their_parents_and_tools():
    laid = timeline(
        run(
            call(0, None, 1.0),
            call(1, None, 2.0, parents=("c0",), tool_s=0.5),
            call(2, None, 1.0, parents=(0,)),
            call(3, None, 1.0, parents=(1, "c2"), tool_s=0.25),
            call(4, None, 1.0),
        )
    )
    assert [span.start_s for span in laid.spans] == [0.0, 1.5, 1.0, 3.75, 4.75]
    assert laid.elapsed_s == 5.75


def test_what_ran_on_after_the_end_does_not_count():
    laid = timeline(run(call(0, 0.0, 1.0), call(1, 1.5, 9.0), call(2, 20.0, 1.0), elapsed_s=2.0))
    assert [span.position for span in laid.critical()] == [0, 1]
    assert laid.spent()["model"] == 1.5
    assert laid.tail_s == 0.0


def test_overlapping_calls_on_the_path_count_once():
    laid = timeline(run(call(0, 0.0, 2.0), call(1, 1.0, 2.0, parents=("c0",)), elapsed_s=3.0))
    assert [span.counted_s for span in laid.critical()] == [0.0, 2.0]
    assert laid.spent()["model"] == 3.0


def test_a_run_without_calls_is_all_tools():
    assert timeline(run(elapsed_s=2.0)).spent()["tool"] == 2.0
    assert timeline(run()).elapsed_s == 0.0


times = st.floats(0.0, 20.0).map(lambda seconds: round(seconds, 3))


@st.composite
def runs(draw):
    count = draw(st.integers(0, 6))
    parts = []
    for i in range(count):
        parents = draw(st.lists(st.integers(0, max(0, i - 1)), max_size=2)) if i else []
        start_s, e2e_s = draw(st.none() | times), draw(st.none() | times)
        parts.append(
            call(
                i,
                start_s,
                e2e_s,
                parents=tuple(parents),
                queued_s=draw(st.none() | times),
                ttft_s=draw(st.none() | times),
                tool_s=draw(st.none() | times),
                status=draw(st.sampled_from(["ok", "deadline", None])),
            )
        )
        for _ in range(draw(st.integers(0, 3))):
            status = draw(st.sampled_from(["ok", "server", "left"]))
            parts.append(attempt(i, draw(st.none() | times), draw(times), status, ttft_s=draw(st.none() | times)))
    return run(*parts, elapsed_s=draw(st.none() | times))


@given(runs())
def test_every_second_is_spent_once_whatever_the_log_says(one):
    laid = timeline(one)
    for span in laid.spans:
        cursor_s = span.start_s
        for segment in span.segments:
            assert segment.start_s == pytest.approx(cursor_s)
            assert segment.end_s > segment.start_s
            cursor_s = segment.end_s
        assert cursor_s == pytest.approx(span.end_s)
    assert all(span.gap_s >= 0 for span in laid.spans)
    assert sum(laid.spent().values()) == pytest.approx(laid.elapsed_s, abs=1e-6)
