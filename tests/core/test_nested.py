"""A step that is a program itself is opened into what it is made of."""

from agentsched.core.nested import opened, summed_up
from agentsched.core.structure import EdgeKind, StructureEdge, WorkflowStructure

PLAIN, CONDITIONAL, FAN_OUT = EdgeKind.PLAIN, EdgeKind.CONDITIONAL, EdgeKind.FAN_OUT

OUTER = WorkflowStructure(
    "any",
    nodes=("plan", "team", "write"),
    edges=(StructureEdge("plan", "team", FAN_OUT), StructureEdge("team", "write")),
    entry=("plan",),
    ends=("write",),
    joins=("team", "write"),
    bounds={"plan": 1, "team": 2, "write": 1},
    calls={"plan": 1, "write": 2},
    max_steps=9,
)
INNER = WorkflowStructure(
    "any",
    nodes=("ask", "check"),
    edges=(StructureEdge("ask", "check"), StructureEdge("check", "ask", CONDITIONAL)),
    entry=("ask",),
    ends=("check",),
    bounds={"ask": 3},
    calls={"ask": 1, "check": 1},
)


def edges(structure: WorkflowStructure) -> set[tuple[str, str, EdgeKind]]:
    return {(edge.source, edge.target, edge.kind) for edge in structure.edges}


def test_edges_lead_to_where_the_inner_one_begins_and_on_from_where_it_may_end() -> None:
    whole = opened(OUTER, "team", INNER)
    assert whole.nodes == ("plan", "ask", "check", "write")
    assert edges(whole) == {
        ("plan", "ask", FAN_OUT),
        ("ask", "check", PLAIN),
        ("check", "ask", CONDITIONAL),
        ("check", "write", CONDITIONAL),  # it may go on itself instead
    }
    assert (whole.entry, whole.ends, whole.joins) == (("plan",), ("write",), ("ask", "write"))


def test_what_bounds_the_outer_steps_still_does_and_nothing_bounds_the_inner_ones() -> None:
    whole = opened(OUTER, "team", INNER)
    assert dict(whole.bounds) == {"plan": 1, "write": 1}
    assert dict(whole.calls) == {"plan": 1, "write": 2, "ask": 1, "check": 1}
    assert whole.max_steps is None


def test_a_step_that_begins_or_ends_the_whole_is_replaced_there_as_well() -> None:
    alone = WorkflowStructure("any", nodes=("team",), entry=("team",), ends=("team",))
    whole = opened(alone, "team", INNER)
    assert (whole.nodes, whole.entry, whole.ends) == (("ask", "check"), ("ask",), ("check",))
    assert edges(whole) == edges(INNER)


def test_a_circle_of_one_leads_from_the_inner_end_to_the_inner_beginning() -> None:
    circle = WorkflowStructure("any", nodes=("team",), edges=(StructureEdge("team", "team", CONDITIONAL),))
    assert ("check", "ask", CONDITIONAL) in edges(opened(circle, "team", INNER))


def test_steps_of_the_same_name_are_one() -> None:
    inner = WorkflowStructure("any", nodes=("plan", "ask"), edges=(StructureEdge("plan", "ask"),), ends=("ask",))
    assert opened(OUTER, "team", inner).nodes == ("plan", "ask", "write")


def test_who_sums_up_comes_last() -> None:
    whole = summed_up(INNER, "chair")
    assert (whole.nodes, whole.ends) == (("ask", "check", "chair"), ("chair",))
    assert ("check", "chair", CONDITIONAL) in edges(whole)
    assert dict(whole.calls) == {"ask": 1, "check": 1, "chair": 1}
    assert dict(whole.bounds) == {}


def test_who_sums_up_may_have_spoken_before() -> None:
    whole = summed_up(INNER, "check")
    assert (whole.nodes, whole.ends) == (("ask", "check"), ("check",))
    assert edges(whole) == edges(INNER)
