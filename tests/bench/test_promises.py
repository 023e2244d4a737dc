"""The time limits that users set, decorated: with the bare SDK, the clock bounded above only."""

from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec

import pytest

from agentsched.bench.packages import Missing
from agentsched.bench.promise_rows import ROWS, UPSTREAMS
from agentsched.bench.promises import ARMS, Options, allowed_s, run_promises, run_row
from agentsched.errors import ConfigError

GRACE_S = 0.5
"""More than the bench grants: whoever runs tests has other things running."""


def test_a_dripping_stream_outlasts_the_sdks_timeout_and_not_the_deadline() -> None:
    pytest.importorskip("openai")
    patience_s = 3.0
    plain, decorated = run_row("openai-comments", patience_s)
    assert (plain.arm, decorated.arm) == ARMS
    assert (plain.outcome, plain.seconds, plain.requests) == ("none", patience_s, 1)
    assert (decorated.outcome, decorated.error) == ("error", "DeadlineExceeded")
    assert decorated.seconds < allowed_s(ROWS["openai-comments"]) + GRACE_S
    assert decorated.requests >= 1


def test_a_row_without_its_package_is_missing_and_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsched.bench.promises.version", _not_there)
    monkeypatch.setattr("agentsched.bench.promises.start_pool", pytest.fail)
    with pytest.raises(Missing, match="crewai is not installed"):
        run_row("crewai", 1.0)


def _not_there(name: str) -> str:
    raise PackageNotFoundError(name)


@pytest.mark.skipif(find_spec("crewai") is not None, reason="crewai is installed")
def test_a_missing_package_is_told_by_the_rows_own_process() -> None:
    promises = run_promises(Options(rows=("crewai",)))
    assert promises.results == ()
    assert promises.missing == {"crewai": "crewai is not installed"}


def test_every_row_names_upstreams_that_exist() -> None:
    for row in ROWS.values():
        assert row.primary in UPSTREAMS
        assert row.fallback is None or row.fallback in UPSTREAMS


def test_the_bar_is_a_tenth_and_a_tenth_of_a_second() -> None:
    assert allowed_s(ROWS["openai"]) == pytest.approx(2.3)
    assert allowed_s(ROWS["crewai"]) == pytest.approx(1.2)


def test_an_unknown_row_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match=r"rows.*'magic'"):
        run_promises(Options(rows=("magic",)))
