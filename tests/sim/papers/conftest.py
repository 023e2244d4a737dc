"""How these tests make single arms of an experiment."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agentsched.sim.grid import run_task
from agentsched.sim.papers.experiment import Arm, Key, Lab, Measured, Paper, measured

Made = Callable[[Paper, Callable[[Arm], bool]], dict[Key, Measured]]


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., dict[Key, Measured]]:
    """Makes those arms of an experiment that a test wants, at a share of its length."""

    def make(paper: Paper, wanted: Callable[[Arm], bool], scale: float = 0.1, seed: int = 31) -> dict[Key, Measured]:
        found: dict[Key, Measured] = {}
        for arm in paper.arms(Lab(tmp_path, (seed,), scale)):
            if wanted(arm):
                found |= measured(arm, [run_task(arm.of(seed))])
        return found

    return make
