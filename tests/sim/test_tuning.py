"""The search that every policy gets, on made-up outcomes; and its file."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import yaml

from agentsched.errors import ConfigError
from agentsched.policy.space import Between, OneOf
from agentsched.policy.table import POLICIES, make_policy
from agentsched.sim.grid import PolicyChoice, Task
from agentsched.sim.outcome import Outcome, RunResult
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import Setup
from agentsched.sim.tuning import (
    CONFIGURATIONS,
    TUNING_SEEDS,
    Tuned,
    read_tuned,
    search_space,
    tune,
    write_tuned,
)

SCENARIOS = [load_scenario("s1"), load_scenario("s2")]
SEC = PolicyChoice("shortest_expected_completion")


def outcome(met: float) -> Outcome:
    """A thousand runs of which this share met their deadline."""
    runs = tuple(
        RunResult(k, "w", 0, 1.0, 2.0, 1.0, 1.0, "ok" if k < 1000 * met else "late", 1, 1, 1, 1, 0.0)
        for k in range(1000)
    )
    return Outcome(runs, 0.0, 10.0, 10.0, {}, {}, 0)


class Bench:
    """Makes outcomes by a rule, and counts what was asked for."""

    def __init__(self, rule: Callable[[Task], float]) -> None:
        self.rule, self.tasks = rule, list[Task]()

    def __call__(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        self.tasks += tasks
        return ((task, outcome(self.rule(task))) for task in reversed(tasks))


def closeness_to_half(task: Task) -> float:
    """The toll should be .5; the defaults (1.0) reach .65."""
    toll = dict(task.policy.options).get("toll", 1.0)
    return 0.9 - 0.25 * min(1.0, abs(float(np.log2(float(toll) / 0.5))))


def test_it_finds_the_best_of_its_settings():
    bench = Bench(closeness_to_half)
    found = tune(SEC, SCENARIOS, Setup(duration_s=60.0), bench)
    assert 0.4 < found.options["toll"] < 0.6
    assert found.default == pytest.approx(0.65)
    assert found.attainment > 0.86
    assert found.choice.options == (("toll", found.options["toll"]),)
    assert all(task.setup.duration_s == 60.0 for task in bench.tasks)


def test_every_policy_gets_the_same_seeds_and_rounds():
    for policy in (SEC, PolicyChoice("fused"), PolicyChoice("tail_aware", (("independent", True),))):
        bench = Bench(lambda task: 0.5)
        assert tune(policy, SCENARIOS, Setup(), bench).tried == CONFIGURATIONS
        seen = Counter(task.setup.seed for task in bench.tasks if task.scenario is SCENARIOS[0])
        assert dict(seen) == dict(zip(TUNING_SEEDS, (40, 13, 13, 5, 5), strict=True))
        assert len(bench.tasks) == len(set(map(id, bench.tasks))) == 2 * 76
        assert all(dict(policy.options).items() <= dict(task.policy.options).items() for task in bench.tasks)


def test_the_defaults_stay_where_nothing_is_better():
    found = tune(SEC, SCENARIOS, Setup(), Bench(lambda task: 0.9 - 0.1 * bool(task.policy.options)))
    assert found.options == {}
    assert found.attainment == found.default == pytest.approx(0.9)


def test_a_lucky_first_seed_is_found_out():
    """One setting shines on the first seed only."""
    lucky = []

    def rule(task: Task) -> float:
        if not lucky and task.policy.options:
            lucky.append(task.policy)
        shines = task.policy in lucky and task.setup.seed == TUNING_SEEDS[0]
        return 0.99 if shines else 0.3 if task.policy in lucky else 0.6

    found = tune(SEC, SCENARIOS, Setup(), Bench(rule))
    assert found.attainment == pytest.approx(0.6)


def test_the_search_repeats():
    one, other = Bench(closeness_to_half), Bench(closeness_to_half)
    tune(SEC, SCENARIOS, Setup(), one)
    tune(SEC, SCENARIOS, Setup(), other)
    assert [task.policy for task in one.tasks] == [task.policy for task in other.tasks]


def test_no_run_to_count_is_told():
    def nothing(tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        return ((task, Outcome((), 0.0, 1.0, 1.0, {}, {}, 0)) for task in tasks)

    with pytest.raises(ConfigError, match="no run arrived after the warm-up with seed 101"):
        tune(SEC, SCENARIOS, Setup(), nothing)


def test_a_scenario_without_deadlines_tells_nothing(small):
    with pytest.raises(ConfigError, match=r"has no deadlines that could be met .given: 'small'"):
        tune(SEC, [small(deadlines=None)], Setup(), Bench(closeness_to_half))


# -- spaces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(name for name, made in POLICIES.items() if hasattr(made, "space")))
def test_every_corner_of_every_space_is_a_policy(name):
    space = search_space(PolicyChoice(name))
    for fraction in (0.0, 0.5, 1.0):
        make_policy(name, {option: span.at(fraction) for option, span in space.items()})


def test_what_is_fixed_is_not_searched():
    assert set(search_space(PolicyChoice("peak_ewma", (("sampled", False),)))) == {"decay_s"}
    with pytest.raises(ConfigError, match=r"policy: has nothing to tune .given: 'shortest_expected_completion:toll=2'"):
        search_space(PolicyChoice("shortest_expected_completion", (("toll", 2),)))
    with pytest.raises(ConfigError, match=r"nothing to tune .given: 'random'.; allowed: .*fused"):
        search_space(PolicyChoice("random"))


def test_spans():
    assert [Between(1.0, 3.0).at(f) for f in (0.0, 0.5, 1.0)] == [1.0, 2.0, 3.0]
    assert [Between(0.01, 100.0, log=True).at(f) for f in (0.0, 0.5, 1.0)] == [0.01, 1.0, 100.0]
    assert Between(0.0, 1.0).at(1 / 3) == 0.3333
    assert [OneOf((True, False)).at(f) for f in (0.0, 0.49, 0.5, 1.0)] == [True, True, False, False]


# -- the file --------------------------------------------------------------------------------------------------------


def test_the_file_keeps_what_other_searches_found(tmp_path):
    path = tmp_path / "tuned.yaml"
    write_tuned(path, [Tuned(SEC, {"toll": 0.5}, 0.81234, 0.7, 40)], "--scenario s1")
    independent = PolicyChoice("tail_aware", (("independent", True),))
    write_tuned(path, [Tuned(independent, {"percentile": 0.5}, 0.6, 0.6, 40)])
    held = yaml.safe_load(path.read_text())["policies"]
    assert held["shortest_expected_completion"] == {
        "options": {"toll": 0.5},
        "attainment": 0.8123,
        "default": 0.7,
        "tried": 40,
        "command": "agentsched sim tune shortest_expected_completion --scenario s1",
    }
    assert read_tuned(path, SEC).options == (("toll", 0.5),)
    assert read_tuned(path, SEC).label == "shortest_expected_completion (tuned)"
    assert read_tuned(path, independent).options == (("independent", True), ("percentile", 0.5))
    assert read_tuned(path, PolicyChoice("tail_aware")) == PolicyChoice("tail_aware"), "it was not tuned"


@pytest.mark.parametrize(
    "text", ["", "[1]", "version: 2\npolicies: {}", "version: 1\npolicies: {a: 1}", "{", "a: \x00"]
)
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "tuned.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="allowed: a file made by agentsched sim tune"):
        read_tuned(path, SEC)


def test_a_file_that_is_not_there_or_cannot_be_written_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tuned(tmp_path / "none.yaml", SEC)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_tuned(tmp_path / "no" / "folder.yaml", [])


def test_a_tuned_option_that_the_policy_lacks_is_told(tmp_path):
    path = tmp_path / "tuned.yaml"
    write_tuned(path, [Tuned(SEC, {"tolls": 0.5}, 0.8, 0.7, 40)])
    with pytest.raises(ConfigError, match=r"policy\.tolls: unknown option"):
        read_tuned(path, SEC)
