"""A policy with a memory is shown what is logged of attempts, whole and in order."""

from agentsched.core.call import Observation
from agentsched.core.decision import Decision
from agentsched.policy.least_outstanding import LeastOutstanding
from agentsched.scheduler.actions import Record
from agentsched.sim.averages import averages_of
from agentsched.sim.simulation import Setup, Simulation
from agentsched.sim.workload import draw_runs
from tests.sim.conftest import Story


class Diary(LeastOutstanding):
    """Writes down what it is shown."""

    def __init__(self) -> None:
        self.seen: list[Decision | Observation] = []

    def remember(self, record: Decision | Observation) -> None:
        self.seen.append(record)


def test_every_attempt_is_remembered_when_it_begins_and_when_it_ends(small):
    scenario = small(
        load=6.0,
        faults={"failure": {"duration": 1.0, "every": 4.0}},
        deadlines={"multiples": [{"times": 2, "share": 1}], "plus": 0.2, "on_late": "raise"},
    )
    story, diary, averages = Story(), Diary(), averages_of(scenario)
    simulation = Simulation(scenario, lambda: diary, Setup(), averages, story.watch)
    simulation.run(
        draw_runs(scenario, 1, load=6.0, duration_s=20.0, clients=1, mean_ideals_s=averages.ideal_s),
    )
    logged = [
        action.record
        for _, _, actions in story.happened
        for action in actions
        if isinstance(action, Record) and isinstance(action.record, (Decision, Observation))
    ]
    assert diary.seen == logged
    begun = [one.attempt_id for one in logged if isinstance(one, Decision)]
    ended = [one.attempt_id for one in logged if isinstance(one, Observation)]
    assert sorted(begun) == sorted(ended)
    assert {"ok", "cancelled", "in_band"} <= {one.status for one in logged if isinstance(one, Observation)}
