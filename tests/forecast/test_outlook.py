import numpy as np
import pytest

from agentsched.core.structure import EdgeKind, StructureEdge, WorkflowStructure
from agentsched.forecast.outlook import PRIOR_WORK_PER_CALL, StructureOutlook, calls_unknown, spread_work

LEVELS = (np.arange(32) + 0.5) / 32


def structure(*edges, ends=(), calls=None, **more):
    """A structure whose steps make one call each unless ``calls`` says otherwise; None in it: that is not known."""
    nodes = tuple(dict.fromkeys(name for edge in edges for name in edge[:2]))
    made = tuple(StructureEdge(edge[0], edge[1], *edge[2:]) for edge in edges)
    told = {name: count for name, count in (dict.fromkeys(nodes, 1) | (calls or {})).items() if count is not None}
    return WorkflowStructure("test", nodes, made, entry=nodes[:1], ends=ends, calls=told, **more)


def test_a_chain_is_certain():
    outlook = StructureOutlook.of(structure(("a", "b"), ("b", "c"), ends=("c",)))
    for step, calls in (("a", 2), ("b", 1), ("c", 0)):
        assert outlook.after(step, 0, 1).tolist() == [calls] * 32
    assert outlook.after("other", 0, 1) is None


def test_branches_side_by_side_count_once():
    outlook = StructureOutlook.of(structure(("a", "b"), ("a", "c"), ("c", "d"), ("b", "e"), ("d", "e"), ends=("e",)))
    assert outlook.after("a", 0, 1).tolist() == [3] * 32


def test_one_of_several_ways_is_a_mixture():
    either = EdgeKind.CONDITIONAL
    outlook = StructureOutlook.of(structure(("a", "b", either), ("a", "c", either), ("c", "d"), ends=("b", "d")))
    after = outlook.after("a", 0, 1)
    assert sorted(set(after)) == [1, 2]
    assert (after == 1).sum() == 16


def test_a_loop_gets_longer_the_longer_it_has_run():
    either = EdgeKind.CONDITIONAL
    outlook = StructureOutlook.of(structure(("agent", "tools", either), ("tools", "agent"), ends=("agent",)))
    tails = [outlook.after("agent", 2 * count - 2, count)[28] for count in (1, 2, 4, 8, 16)]
    assert tails == sorted(tails)
    assert tails[-1] > 3 * tails[0] > 0
    means = [outlook.after("agent", 0, count).mean() for count in (1, 2, 4, 8, 16, 500)]
    assert means == sorted(means)


def test_bounds_hold():
    either = EdgeKind.CONDITIONAL
    loop = structure(("agent", "tools", either), ("tools", "agent"), ends=("agent",), calls={"tools": 0}, max_steps=10)
    outlook = StructureOutlook.of(loop)
    assert outlook.after("agent", 0, 1).max() <= 9
    assert outlook.after("agent", 7, 8).max() <= 2
    assert outlook.after("agent", 30, 31).max() == 0
    bounded = structure(("a", "b"), ("b", "a"), bounds={"a": 2, "b": 2})
    assert StructureOutlook.of(bounded).after("a", 0, 1).max() == 3


def test_a_fan_out_of_unknown_width_is_at_least_as_long_as_one_branch():
    fan = structure(("plan", "work", EdgeKind.FAN_OUT), ("work", "work", EdgeKind.CONDITIONAL), ends=("work",))
    one = structure(("plan", "work"), ("work", "work", EdgeKind.CONDITIONAL), ends=("work",))
    wide, narrow = (StructureOutlook.of(s).after("plan", 0, 1) for s in (fan, one))
    assert (wide >= narrow).all()
    assert wide.mean() > narrow.mean()


def test_rounds_of_tools_inside_a_visit():
    outlook = StructureOutlook.of(structure(("a", "b"), ends=("b",), calls={"b": 4}))
    after = outlook.after("a", 0, 1)
    assert after.min() == 1
    assert after.max() == 4


def test_what_is_left_of_the_visit_counts():
    """After the first of at most four calls there may be three more, after the fourth none."""
    outlook = StructureOutlook.of(structure(("a", "b"), ends=("b",), calls={"a": 4}))
    assert (outlook.after("a", 0, 1).min(), outlook.after("a", 0, 1).max()) == (1, 4)
    assert outlook.after("a", 3, 4).tolist() == [1] * 32
    assert outlook.after("b", 4, 1).tolist() == [0] * 32


def test_a_step_of_unknown_calls_makes_one_on_average_and_may_make_none():
    chain = StructureOutlook.of(
        structure(("a", "b"), ("b", "c"), ("c", "d"), ends=("d",), calls={"b": None, "c": None})
    )
    after = chain.after("a", 0, 1)
    assert after.min() == 1  # d
    assert after.max() > 4
    assert abs(after.mean() - 3.0) < 0.2
    assert 0.2 < (chain.after("b", 1, 1) > 2).mean() < 0.6
    tail = StructureOutlook.of(structure(("a", "b"), ends=("b",), calls={"b": None})).after("a", 0, 1)
    assert (tail == 0).sum() == 8


@pytest.mark.parametrize("calls", [{"agent": None}, {"tools": None}])
def test_what_is_unknown_bounds_nothing(calls):
    either = EdgeKind.CONDITIONAL
    edges = (("agent", "tools", either), ("tools", "agent"))
    made = structure(*edges, ends=("agent",), calls={"tools": 0} | calls, max_steps=4, bounds={"agent": 2, "tools": 2})
    assert StructureOutlook.of(made).most == np.inf
    known = structure(*edges, ends=("agent",), calls={"tools": 0}, bounds={"agent": 2})
    assert StructureOutlook.of(known).most == 2  # tools come as often as they like


@pytest.mark.parametrize("position", [0, 3, 20, 500])
def test_the_unknown_is_longer_the_longer_it_has_run(position):
    now, later = calls_unknown(position, LEVELS), calls_unknown(2 * position + 1, LEVELS)
    assert (np.diff(now) >= 0).all()
    assert (later >= now).all()
    assert later.mean() > now.mean()


def test_a_new_run_may_well_be_over():
    assert 0.3 < (calls_unknown(0, LEVELS) == 0).mean() < 0.6


def test_work_is_spread_around_its_mean():
    work = spread_work(np.full(32, 3.0), PRIOR_WORK_PER_CALL)
    assert (work[:, 2] == 3.0).all()
    assert work[:, 0].min() < 3 * PRIOR_WORK_PER_CALL[0] < work[:, 0].max()
    assert not (np.diff(work[:, 0]) >= 0).all()
