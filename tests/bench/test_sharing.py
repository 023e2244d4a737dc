"""The bench of processes that share endpoints: that its arms make the same runs, and what it makes of what they did."""

import json
from contextlib import nullcontext

import pytest
from click.testing import CliRunner

from agentsched.bench import sharing
from agentsched.bench.sharing import Arm, Options, Outcome, Sharing, arms_of, measure
from agentsched.bench.sharing_report import sharing_bars, sharing_document, sharing_sheet
from agentsched.cli.main import main
from agentsched.errors import ConfigError

OPTIONS = Options(runs=100, backend="redis", url="redis://:canary@h", outage=True)


def result(*shares: float, **failed: int) -> Sharing:
    outcomes = [
        Outcome(arm, 100, round(100 * share), failed if arm.outage else {}, 1.0, 2.0)
        for arm, share in zip(arms_of(OPTIONS), shares, strict=True)
    ]
    return Sharing(OPTIONS, tuple(outcomes))


def test_the_arms() -> None:
    assert arms_of(Options(processes=3)) == (
        Arm("one process", 1, "memory"),
        Arm("3 processes, nothing shared", 3, "memory"),
        Arm("3 processes, sqlite", 3, "sqlite"),
    )
    assert arms_of(OPTIONS)[-1].outage


def test_what_is_promised() -> None:
    assert [bar.met for bar in sharing_bars(result(0.95, 0.8, 0.93, 0.92, DeadlineExceeded=2))] == [True, True, True]
    assert [bar.met for bar in sharing_bars(result(0.95, 0.8, 0.91, 0.90, StreamBroken=1))] == [False, False, False]


def test_it_is_told_without_the_server_s_address() -> None:
    told = result(0.95, 0.8, 0.93, 0.92)
    assert [row[1] for row in sharing_sheet(told).rows] == ["0.950", "0.800", "0.930", "0.920"]
    assert "canary" not in json.dumps(sharing_document(told))


def test_an_outage_needs_a_server_of_its_own() -> None:
    with pytest.raises(ConfigError, match="--backend redis"):
        measure(Options(outage=True), lambda *_: None)


def test_every_run_is_made_once_by_processes_that_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "arms_of", lambda options: arms_of(options)[2:])
    monkeypatch.setattr(sharing, "_ROUND_S", 0.1)
    options = Options(runs=6, rate_per_s=30.0, deadline_s=30.0, processes=2)
    told: list[tuple[str, int, int]] = []
    (outcome,) = measure(options, lambda *now: told.append(now)).outcomes
    assert (outcome.runs, outcome.in_time, outcome.failed) == (6, 6, {})
    assert told[-1] == ("2 processes, sqlite", 6, 6)


def test_arms_take_turns_in_another_order_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[tuple[int, str]] = []

    class Fake:
        def __init__(self, arm: Arm) -> None:
            self.arm = arm

        def make(self, number: int, tell: object) -> None:
            turns.append((number, self.arm.name[0]))

        def outcome(self) -> Outcome:
            return Outcome(self.arm, 0, 0, {}, 0.0, 0.0)

    monkeypatch.setattr(sharing, "_trial", lambda options, arm, planned: nullcontext(Fake(arm)))
    options = Options(runs=1000, rate_per_s=12.5, processes=3)
    assert options.rounds == 2
    assert len(measure(options, lambda *_: None).outcomes) == 3
    assert [number for number, _ in turns] == [0, 0, 0, 1, 1, 1]
    assert turns[0][1] == "o" != turns[3][1]


def test_the_command_refuses_what_cannot_be() -> None:
    refused = CliRunner().invoke(main, ["bench", "clients", "--outage"])
    assert refused.exit_code == 2
    assert "--backend redis" in refused.output
