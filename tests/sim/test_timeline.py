import pytest

from agentsched.errors import InvariantViolated
from agentsched.sim.timeline import Timeline


def test_things_happen_in_order_of_time_and_then_of_asking():
    timeline, seen = Timeline(), []
    timeline.at(2.0, seen.append, "c")
    timeline.at(1.0, seen.append, "a")
    timeline.at(1.0, seen.append, "b")
    timeline.run()
    assert (seen, timeline.now, timeline.happened) == (["a", "b", "c"], 2.0, 3)


def test_background_happens_in_order_but_does_not_keep_time_going():
    timeline, seen = Timeline(), []

    def again() -> None:
        seen.append(timeline.now)
        timeline.in_background(timeline.now + 1.0, again)

    timeline.in_background(0.5, again)
    timeline.at(3.0, seen.append, "end")
    timeline.run()
    assert seen == [0.5, 1.5, 2.5, "end"]


def test_the_past_is_refused():
    timeline = Timeline()
    timeline.at(1.0, lambda: timeline.at(0.5, print))
    with pytest.raises(InvariantViolated, match=r"0\.5.*1\.0 already"):
        timeline.run()
