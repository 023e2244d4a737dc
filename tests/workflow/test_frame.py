import contextvars

import pytest

from agentsched.workflow.frame import (
    OUTSIDE,
    Frame,
    FrameChange,
    change_frame,
    current_frame,
    detached,
    enter_frame,
    leave_frame,
)


def test_code_is_outside_until_a_frame_is_entered() -> None:
    token = enter_frame(Frame(step="plan"))
    assert current_frame().step == "plan"
    assert leave_frame(token).step == "plan"
    assert current_frame() == OUTSIDE


def test_leaving_hands_out_what_was_changed_inside() -> None:
    token = enter_frame(Frame(step="plan"))
    change_frame(current_frame()._replace(step="write"))
    assert leave_frame(token).step == "write"


def test_leaving_in_a_context_that_was_not_entered_changes_nothing_there() -> None:
    token = contextvars.copy_context().run(enter_frame, Frame(step="elsewhere"))
    mine = enter_frame(Frame(step="mine"))
    assert leave_frame(token) is OUTSIDE
    assert current_frame().step == "mine"
    leave_frame(mine)


def test_a_change_holds_at_once_and_ends_with_its_block() -> None:
    token = enter_frame(Frame(run="run"))
    with FrameChange("step", "plan"):
        FrameChange("inherited_step", "other")
        assert current_frame() == Frame(run="run", step="plan", inherited_step="other")
    assert current_frame() == Frame(run="run", inherited_step="other")
    leave_frame(token)


def test_a_change_is_not_undone_in_another_run() -> None:
    token = enter_frame(Frame(run="one"))
    change = FrameChange("step", "plan")
    leave_frame(token)
    other = enter_frame(Frame(run="two", step="write"))
    change.undo()
    assert current_frame().step == "write"
    leave_frame(other)


def test_detached_code_is_outside() -> None:
    token = enter_frame(Frame(run="run"))
    with detached():
        assert current_frame() == OUTSIDE
    assert current_frame().run == "run"
    with pytest.raises(ZeroDivisionError), detached():
        raise ZeroDivisionError
    assert current_frame().run == "run"
    leave_frame(token)
