"""GoodServe's migration: when an answer is moved, what that costs, and what comes of it."""

from collections.abc import Callable

import pytest

from agentsched.engine.profile import HardwareProfile
from agentsched.engine.profiles import load_profile
from agentsched.errors import ConfigError
from agentsched.sim.migrating import Migration
from agentsched.sim.papers.experiment import Key, Measured
from agentsched.sim.papers.migration import MIGRATION, kv_transfer_s, reading_s, writing_s


def test_moving_without_asking_floods_the_pool_and_asking_helps(made: Callable[..., dict[Key, Measured]]) -> None:
    found = made(MIGRATION, lambda arm: (arm.key[0], *arm.key[2:]) == ("just_enough", "err by 60 %", "4/s"), 0.07)
    never, always, tested = (
        found["just_enough", moves, "err by 60 %", "4/s"]
        for moves in ("never", "always (as released)", "where it is in time")
    )
    assert never.attempts.mean == 1.0
    assert 11.0 >= always.attempts.mean > tested.attempts.mean > 1.0
    assert always.read_tokens.mean > 1.5 * never.read_tokens.mean
    assert tested.attainment.mean > always.attainment.mean


def test_reading_again_is_cheaper_than_writing_again() -> None:
    profile = load_profile("llama3-8b-a800")
    assert isinstance(profile, HardwareProfile)
    assert reading_s(profile, 3000) < 0.5 * writing_s(profile, 2000, 1000)
    assert reading_s(profile, 6000) > reading_s(profile, 3000)


def test_keys_and_values_take_the_time_of_their_bytes() -> None:
    assert kv_transfer_s(1000, 10.0) == pytest.approx(1000 * 32 * 8 * 128 * 2 * 2 * 8 / 10e9)


def test_a_rule_that_never_or_always_looks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"migration\.every_tokens"):
        Migration(every_tokens=0)
    with pytest.raises(ConfigError, match=r"migration\.most"):
        Migration(most=0)
