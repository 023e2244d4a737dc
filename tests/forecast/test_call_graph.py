import numpy as np

from agentsched.core.call import ModelCall
from agentsched.core.records import CallEnded
from agentsched.forecast.call_graph import in_order, places, work_after


def call(name, start, end, *, parents=(), step=None, output=10, prompt=100, tool_s=0.0, index=0, status="ok"):
    made = ModelCall(name, "r", "w", step or name, index, "m", input_tokens=prompt, parents=parents, tool_s=tool_s)
    return CallEnded(made, start, end, status, "e", 1, 0, 0.0, None, prompt, output, None, 0.0)


def test_a_chain():
    calls = [
        call("a", 0, 1, output=5),
        call("b", 2, 4, parents=("a",), output=7, prompt=50, tool_s=1.0),
        call("c", 4, 5, parents=("b",), output=9, prompt=60),
    ]
    work = work_after(calls, 5.5)
    assert work.tolist() == [[16, 110, 2, 1.5], [9, 60, 1, 0.5], [0, 0, 0, 0.5]]


def test_a_fan_out_counts_its_slowest_branch_and_the_join():
    calls = [
        call("plan", 0, 1),
        call("x", 1, 3, parents=("plan",), output=20),
        call("y", 1, 9, parents=("plan",), output=200),
        call("z", 1, 2, parents=("plan",), output=900),
        call("write", 9, 10, parents=("x", "y", "z"), output=50),
    ]
    work = work_after(calls, 10)
    assert work[0].tolist() == [250, 200, 2, 0]
    for branch in (1, 2, 3):
        assert work[branch].tolist() == [50, 100, 1, 0]
    assert work[4].tolist() == [0, 0, 0, 0]


def test_without_lineage_a_call_follows_whatever_ended_last_before_it():
    calls = [call("a", 0, 1), call("b", 1, 2), call("c", 1, 5), call("d", 5, 6)]
    assert work_after(calls, 6)[:, 2].tolist() == [2, 0, 1, 0]


def test_a_call_that_tells_of_time_before_it_follows_what_there_was_by_then():
    """Branches from the run's start that were sent one after the other, and what joins them."""
    calls = [call("a", 0, 1), call("b", 3, 4, tool_s=3.0), call("join", 4, 5, parents=("a", "b"))]
    assert work_after(calls, 5)[:, 2].tolist() == [1, 1, 0]
    calls[1] = call("b", 3, 4, tool_s=2.0)
    assert work_after(calls, 5)[:, 2].tolist() == [2, 1, 0]


def test_unknown_and_impossible_parents_are_ignored():
    calls = [call("a", 0, 1, parents=("b", "gone")), call("b", 1, 2, parents=("a",))]
    assert work_after(calls, 2)[:, 2].tolist() == [1, 0]


def test_a_call_that_outlives_its_run_is_followed_by_nothing():
    assert work_after([call("a", 0, 5)], 3).tolist() == [[0, 0, 0, 0]]
    assert work_after([], 3).shape == (0, 4)


def test_where_calls_stood_is_what_could_be_known_then():
    calls = in_order(
        [
            call("2", 1, 6, step="search", index=2, output=40),
            call("0", 0, 1, step="plan", index=0, output=30),
            call("1", 1, 2, step="search", index=1, output=20),
            call("3", 6, 7, step="write", index=3, status="reset"),
            call("4", 7, 8, step="write", index=4),
        ]
    )
    stood = places(calls)
    assert [place.step for place in stood] == ["plan", "search", "search", "write", "write"]
    assert [place.previous for place in stood] == ["", "plan", "search", "search", "write"]
    assert [place.count for place in stood] == [1, 1, 2, 1, 2]
    assert [place.output_so_far for place in stood] == [0, 30, 30, 90, 90]
    assert [place.position for place in stood] == list(range(5))


def test_deep_runs_are_no_recursion():
    calls = [call(str(i), i, i + 1, parents=(str(i - 1),) if i else ()) for i in range(3000)]
    assert np.array_equal(work_after(calls, 3000)[:, 2], np.arange(2999, -1, -1))
