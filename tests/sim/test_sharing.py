"""What client processes hear of each other."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from agentsched.cli.main import main
from agentsched.errors import ConfigError
from agentsched.policy.least_outstanding import SpeedWeightedLeastOutstanding
from agentsched.scheduler.events import OthersSeen
from agentsched.sim.plan import RunPlan
from agentsched.sim.sharing import Sharing
from agentsched.sim.simulation import Setup, simulate
from tests.sim.conftest import SMALL, Played, a_call, a_run, play

API = {"ttft_median_s": 5.0, "ttft_sigma": 0.1, "tpot_median_s": 0.01, "tpot_sigma": 0.1}


def long_runs(clients: int) -> list[RunPlan]:
    """One long call of each client, all at once."""
    return [replace(a_run(a_call(400), index=k), client=k) for k in range(clients)]


def heard(played: Played) -> list[tuple[dict[str, float], float, float]]:
    """What was heard of the number of calls in flight, as of when, and when."""
    return [
        ({load.endpoint: load.in_flight for load in event.loads if load.in_flight}, event.at, now)
        for event, now in played.story.of(OthersSeen)
    ]


def test_nothing_is_heard_unless_asked_for_and_one_client_has_nobody_to_hear_of(small):
    assert not heard(play(small(), long_runs(4), clients=4))
    assert not heard(play(small(), long_runs(1), clients=1, share=Sharing.GOSSIP))


def test_gossip_tells_every_client_what_all_others_have(small):
    played = play(small(), long_runs(4), clients=4, share=Sharing.GOSSIP, share_every_s=0.4, share_delay_s=0.03)
    news = heard(played)
    assert {sum(loads.values()) for loads, _, now in news if 1.0 < now < 3.0} == {3.0}
    assert all(now - at >= 0.03 for _, at, now in news)
    assert all(now - at <= 0.4 + 1e-9 for _, at, now in news)
    # Each of the four hears every 0.4 s.
    assert sum(1.0 <= now < 3.0 for _, _, now in news) == pytest.approx(20, abs=1)


def test_metrics_tell_what_servers_hold_beyond_ones_own_and_nothing_of_stakes(small):
    played = play(small(), long_runs(3), clients=3, share=Sharing.METRICS, share_every_s=0.5, share_delay_s=0.1)
    assert {sum(loads.values()) for loads, _, now in heard(played) if 1.0 < now < 3.0} == {2.0}
    events = [event for event, _ in played.story.of(OthersSeen)]
    assert all(load.stake_per_s is None for event in events for load in event.loads)
    assert {round(now - at, 9) for _, at, now in heard(played)} == {0.1}


def test_a_hosted_api_has_no_metrics_but_clients_may_speak_of_it(small):
    scenario = small(endpoints=[{"name": "api", "profile": API}])
    for share, expected in ((Sharing.METRICS, {0}), (Sharing.GOSSIP, {1.0})):
        played = play(scenario, long_runs(2), clients=2, share=share)
        assert {sum(loads.values()) for loads, _, now in heard(played) if 1.0 < now < 3.0} == expected


def test_sharing_repeats_to_the_last_bit(small):
    setup = Setup(clients=5, share=Sharing.GOSSIP)
    digests = {simulate(small(load=6), SpeedWeightedLeastOutstanding, setup).digest() for _ in range(2)}
    assert len(digests) == 1


@pytest.mark.parametrize(("field", "value"), [("share_every_s", 0.0), ("share_every_s", 1e-6), ("share_delay_s", -1.0)])
def test_intervals_that_cannot_be(field, value):
    with pytest.raises(ConfigError, match=field):
        Setup(**{field: value})


def test_the_command(tmp_path: Path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "duration": 4.0}), encoding="utf-8")
    arguments = [
        "sim",
        "run",
        str(path),
        "--policy",
        "weighted_least_outstanding",
        "--seeds",
        "1",
        "--jobs",
        "1",
        "--json",
    ]
    sharing = ["--clients", "3", "--share", "gossip", "--share-every", "0.2s", "--share-delay", "10ms"]
    runner = CliRunner(catch_exceptions=False)
    assert json.loads(runner.invoke(main, [*arguments, *sharing]).stdout)["share"] == "gossip"
    wrong = runner.invoke(main, [*arguments, "--clients", "3", "--share", "gossip", "--share-every", "soon"])
    assert (wrong.exit_code, "--share-every" in wrong.stderr) == (2, True)
