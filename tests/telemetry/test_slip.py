import pytest

from agentsched.telemetry.run_log import AttemptLog, CallLog, DecisionEntry, RunLine, RunLog
from agentsched.telemetry.slip import decisive_slip
from agentsched.telemetry.timeline import timeline


def call(index=0, start_s=0.0, e2e_s=5.0, planned_s=2.0, ttft_planned_s=0.5, **fields):
    plan = DecisionEntry(predicted_e2e_s=planned_s, predicted_ttft_s=ttft_planned_s, predicted_output_tokens=100.0)
    made = CallLog("r", call_id=f"c{index}", call_index=index, start_s=start_s, e2e_s=e2e_s, status="ok", endpoint="a")
    return made._replace(step="write", output_tokens=100, decisions=(plan,) if planned_s is not None else ())._replace(
        **fields
    )


def attempt(start_s, e2e_s, status="ok", endpoint="a", **fields):
    return AttemptLog("r", call_id="c0", start_s=start_s, e2e_s=e2e_s, status=status, endpoint=endpoint)._replace(
        **fields
    )


def slip(*parts, elapsed_s=5.0, deadline_s=5.0):
    calls = [part for part in parts if isinstance(part, CallLog)]
    attempts = [part for part in parts if isinstance(part, AttemptLog)]
    run = RunLog("r", RunLine("r", elapsed_s=elapsed_s, deadline_s=deadline_s), calls, attempts)
    return decisive_slip(timeline(run), deadline_s)


def why(*parts, **fields):
    return slip(*parts, **fields).text.removeprefix("step write: 5.00 s of 2.00 s planned").removeprefix(": ")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("silent", "endpoint b was silent for 3.00 s, left"),
        ("left", "endpoint b was silent for 3.00 s, left"),
        ("cancelled", "endpoint b was silent for 3.00 s, left"),
        ("connect", "endpoint b could not be reached for 3.00 s"),
        ("limited", "endpoint b was at its limit, 3.00 s lost"),
        ("server", "endpoint b failed after 3.00 s"),
        ("in_band", "endpoint b sent an error inside its answer after 3.00 s"),
        ("novel", "endpoint b ended with 'novel' after 3.00 s"),
    ],
)
def test_lost_attempts_are_told_by_their_ends(status, text):
    assert why(call(), attempt(0.0, 3.0, status, "b"), attempt(3.0, 2.0, ttft_s=0.5)) == text


def test_the_last_attempt_was_not_left_for_another():
    assert why(call(status="deadline"), attempt(0.0, 5.0, "silent", "b")) == "endpoint b was silent for 5.00 s"
    parts = (call(status="deadline"), attempt(0.0, 5.0, "deadline", "b", ttft_s=0.1))
    assert why(*parts) == "endpoint b had not finished when the deadline came, after 5.00 s"


def test_waiting_is_told():
    assert why(call(), attempt(3.0, 2.0, ttft_s=0.5)) == "it waited 3.00 s for a place"


def test_a_late_first_token_is_told():
    text = "the first token from endpoint a took 3.50 s (0.50 s planned)"
    assert why(call(), attempt(0.0, 5.0, ttft_s=3.5)) == text


def test_a_long_answer_is_told_apart_from_a_slow_one():
    assert why(call(output_tokens=300), attempt(0.0, 5.0, ttft_s=0.5)) == "it wrote 300 tokens (100 expected)"
    assert why(call(), attempt(0.0, 5.0, ttft_s=0.5)) == "endpoint a took 45 ms a token (15 ms planned)"


def test_an_answer_of_unknown_length_is_told_by_its_time():
    parts = (call(output_tokens=None), attempt(0.0, 5.0, ttft_s=0.5))
    assert why(*parts) == "its tokens took 4.50 s (1.50 s planned)"


def test_an_answer_without_a_stream_is_told_whole():
    assert why(call(), attempt(0.0, 5.0)) == "endpoint a took 5.00 s (2.00 s planned)"


def test_two_causes_are_told_and_small_ones_are_not():
    parts = (call(), attempt(0.0, 1.5, "server", "b"), attempt(1.5, 0.2, "server", "c"), attempt(3.0, 2.0, ttft_s=0.5))
    assert why(*parts) == "endpoint b failed after 1.50 s; it waited 1.30 s for a place"


def test_the_largest_overrun_of_the_critical_path_is_the_slip():
    found = slip(
        call(0, 0.0, 2.5),
        call(1, 0.0, 4.0, planned_s=1.0, step="side"),
        call(2, 4.5, 4.0, planned_s=3.0, step="end", parents=("c0",)),
        elapsed_s=8.5,
    )
    assert (found.step, found.position, found.planned_s, found.spent_s) == ("end", 2, 3.0, 4.0)


def test_a_run_in_time_may_have_slipped_or_not():
    assert slip(call(e2e_s=4.0, ttft_s=0.5), deadline_s=10.0, elapsed_s=4.0).text.startswith(
        "step write: 4.00 s of 2.00 s"
    )
    assert slip(call(e2e_s=2.5), deadline_s=10.0, elapsed_s=3.0) is None
    assert slip(call(e2e_s=2.5), deadline_s=None, elapsed_s=3.0).text.startswith("step write: 2.50 s of 2.00 s")


def test_a_late_run_without_overruns_is_told_by_its_longest_stretch():
    found = slip(call(0, 0.0, 2.0), call(1, 6.0, 2.0, parents=("c0",)), elapsed_s=8.0, deadline_s=7.0)
    assert found.text == (
        "no call overran its plan by much; the longest stretch is "
        "tools and own code before step write #1: 4.00 s (50 %)"
    )
    assert (found.step, found.position) == ("write", None)


def test_a_late_run_without_plans_is_told_by_its_longest_stretch():
    found = slip(call(planned_s=None), elapsed_s=6.0, deadline_s=5.5)
    assert found.text == "nothing was planned; the longest stretch is step write: 5.00 s (83 %)"
    assert found.position == 0
    assert "after the last call: 6.00 s (100 %)" in slip(elapsed_s=6.0, deadline_s=5.5).text
    assert slip(elapsed_s=0.0, deadline_s=5.0) is None
