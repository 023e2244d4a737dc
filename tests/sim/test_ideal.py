import pytest

from agentsched.engine.hosted import HostedApi
from agentsched.engine.instance import Instance
from agentsched.engine.profiles import load_profile
from agentsched.engine.request import Request
from agentsched.errors import ConfigError
from agentsched.policy.least_outstanding import SpeedWeightedLeastOutstanding
from agentsched.sim.ideal import IdealTimes, Offer, unloaded_s
from agentsched.sim.plan import critical_path
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import simulate
from agentsched.sim.streams import Stream, stream
from agentsched.sim.workflows import WorkflowDrawer


@pytest.mark.parametrize("profile", ["study-8b-v100", "study-8b-h800", "study-72b-4xh100", "llama3-70b-h100-tp4"])
@pytest.mark.parametrize(("prompt", "output"), [(1, 1), (300, 50), (2048, 2), (9000, 700)])
def test_it_is_what_an_idle_instance_takes(profile: str, prompt: int, output: int):
    instance = Instance(load_profile(profile), detail=False)
    instance.submit(Request("a", prompt, output), 0.0)
    ended = None
    while (at := instance.next_event_at()) is not None:
        for emission in instance.advance(at):
            if emission.finished:
                ended = emission.end_s
    assert ended == pytest.approx(unloaded_s(load_profile(profile), prompt, output), rel=1e-9)


def test_of_a_hosted_api_it_is_the_middle():
    profile = load_profile("study-hosted-mid")
    times = []
    for seed in range(400):
        api = HostedApi(profile, stream(seed, Stream.HOSTED), detail=False)
        api.submit(Request("a", 100, 100), 0.0)
        while (at := api.next_event_at()) is not None:
            api.advance(at)
            times.append(at)
    ends = sorted(times[1::2])
    assert ends[200] == pytest.approx(unloaded_s(profile, 100, 100), rel=0.1)


def test_the_fastest_that_is_good_enough_counts_network_included():
    fast, good = load_profile("study-8b-h800"), load_profile("study-8b-v100")
    ideal = IdealTimes([Offer(fast, 0.3, 0.01), Offer(good, 0.4, 0.02)])
    assert ideal.call_s(100, 10, 0.0) == pytest.approx(0.02 + unloaded_s(fast, 100, 10))
    assert ideal.call_s(100, 10, 0.4) == pytest.approx(0.04 + unloaded_s(good, 100, 10))


def test_an_endpoint_that_serves_other_models_is_nobodys_ideal():
    fast, slow = load_profile("study-8b-h800"), load_profile("study-8b-v100")
    ideal = IdealTimes([Offer(fast, 0.5, 0.0, frozenset({"large"})), Offer(slow, 0.3, 0.0)])
    assert ideal.call_s(100, 10, 0.0) == pytest.approx(unloaded_s(slow, 100, 10))
    assert ideal.call_s(100, 10, 0.0, "large") == pytest.approx(unloaded_s(fast, 100, 10))
    with pytest.raises(ConfigError, match=r"endpoints: none serves a quality of 0\.4 or more"):
        ideal.call_s(100, 10, 0.4)


def test_workflows_and_recorded_calls_have_the_ideal_of_those_who_serve_them():
    slow = {"name": "slow", "profile": "study-8b-v100"}
    fast = {"name": "fast", "profile": "study-8b-h800", "models": ["large"]}
    alone, beside = (load_scenario({"base": "s1", "endpoints": pool}) for pool in ([slow], [fast, slow]))
    assert WorkflowDrawer(beside, 1).draw().ideal_s == WorkflowDrawer(alone, 1).draw().ideal_s


def test_who_takes_the_ideal_time_meets_it():
    output = {"median": 50, "sigma": 0}
    scenario = load_scenario(
        {
            **{"version": 1, "name": "alone", "load": 0.01, "duration": 3600, "warm_up": 0},
            "endpoints": [{"name": "only", "profile": "study-8b-a800"}],
            "workflows": [{"name": "w", "share": 1, "stages": [{"step": "s", "prompt": 100, "output": output}]}],
            "deadlines": {"multiples": [{"times": 1, "share": 1}], "plus": 0},
        }
    )
    outcome = simulate(scenario, SpeedWeightedLeastOutstanding)
    assert [run.outcome for run in outcome.runs] == ["ok"] * len(outcome.runs)


def test_a_critical_path_with_a_join():
    #   0 -> (1 | 2) -> 3, tool times 0.5 after each but the last, which is not part of the run
    whole, rests = critical_path([1.0, 2.0, 4.0, 1.0], [0.5, 0.5, 0.5, 9.0], [(), (0,), (0,), (1, 2)])
    assert whole == pytest.approx(1 + 0.5 + 4 + 0.5 + 1)
    assert rests == pytest.approx([6.0, 1.5, 1.5, 0.0])
