from collections.abc import Iterator

import pytest

from agentsched.errors import ConfigError
from agentsched.workflow.frame import Frame, enter_frame, leave_frame
from agentsched.workflow.steps import current_step, name_step, register_step_source


@pytest.fixture(autouse=True)
def run() -> Iterator[str]:
    token = enter_frame(Frame(run="run", inherited_step="starter"))
    yield "run"
    leave_frame(token)


def test_the_starter_of_a_thread_is_the_last_resort(run: str) -> None:
    assert current_step(run) == "starter"


def test_a_framework_wins_over_the_starter_and_the_user_over_both(run: str) -> None:
    undo = register_step_source(lambda: "node")
    assert current_step(run) == "node"
    with name_step("plan"):
        assert current_step(run) == "plan"
    assert current_step(run) == "node"
    undo()
    assert current_step(run) == "starter"


def test_a_source_whose_steps_hold_others_is_asked_last_whoever_came_first(run: str) -> None:
    undos = [register_step_source(lambda: "node", rank=1), register_step_source(lambda: "agent")]
    assert current_step(run) == "agent"
    undos.pop()()
    assert current_step(run) == "node"
    undos.pop()()
    assert current_step(run) == "starter"


def test_sources_are_asked_in_turn_until_one_knows(run: str) -> None:
    undos = [register_step_source(source) for source in (lambda: None, lambda: "", lambda: "agent", lambda: "late")]
    assert current_step(run) == "agent"
    for undo in undos:
        undo()
        undo()
    assert current_step(run) == "starter"


def test_a_plain_call_holds_until_the_next_one(run: str) -> None:
    name_step("plan")
    assert current_step(run) == "plan"
    name_step("write")
    assert current_step(run) == "write"


def test_a_block_ends_what_was_named_inside_it(run: str) -> None:
    with name_step("plan"), name_step("detail"):
        name_step("more detail")
        assert current_step(run) == "more detail"
    assert current_step(run) == "starter"


def test_a_step_named_in_another_run_does_not_count(run: str) -> None:
    name_step("plan")
    assert current_step("another run") == "starter"


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_a_name_must_be_a_name(name: object) -> None:
    with pytest.raises(ConfigError, match="step: not a name"):
        name_step(name)  # type: ignore[arg-type]
