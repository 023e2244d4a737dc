"""When a fault hits and when it does not."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from agentsched.emulator.faults import Fault, FaultBoard, parse_fault_header
from agentsched.errors import ConfigError


@pytest.fixture
def board() -> FaultBoard:
    return FaultBoard(np.random.default_rng(1))


def test_a_fault_acts_in_its_window_only(board: FaultBoard) -> None:
    board.add(Fault(kind="silent", start_s=1.0, duration_s=2.0), now=10.0)
    hits = [board.choose(stream=True, now=now) is not None for now in (10.5, 11.0, 12.9, 13.0)]
    assert hits == [False, True, True, False]


def test_a_fault_is_used_up_by_its_count_and_the_next_takes_over(board: FaultBoard) -> None:
    board.add(Fault(kind="silent", count=2), now=0.0)
    board.add(Fault(kind="cut"), now=0.0)
    kinds = [fault.kind for _ in range(3) if (fault := board.choose(stream=True, now=0.0))]
    assert kinds == ["silent", "silent", "cut"]


def test_a_fault_hits_its_share(board: FaultBoard) -> None:
    board.add(Fault(kind="cut", probability=0.3), now=0.0)
    hits = sum(board.choose(stream=True, now=0.0) is not None for _ in range(1000))
    assert 250 < hits < 350


def test_a_fault_can_be_for_streams_only(board: FaultBoard) -> None:
    board.add(Fault(kind="cut", stream=True), now=0.0)
    assert board.choose(stream=False, now=0.0) is None
    assert board.choose(stream=True, now=0.0) is not None
    assert board.listing(0.0)[0]["hits"] == 1
    board.clear()
    assert board.choose(stream=True, now=0.0) is None


def test_header_form() -> None:
    assert parse_fault_header("cut; after=3; clean=true") == Fault(kind="cut", after=3, clean=True)
    assert parse_fault_header("silent").kind == "silent"


@pytest.mark.parametrize(
    ("text", "says"), [("explode", "kind"), ("cut;after=x", "after"), ("cut;soon=1", "soon"), ("", "kind")]
)
def test_a_bad_header_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_fault_header(text)


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValidationError):
        Fault(kind="cut", probability=2.0)
