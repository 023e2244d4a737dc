"""A workflow's structure: checked when it is made, the same after a round trip through JSON."""

import json

import pytest

from agentsched.core.structure import EdgeKind, StructureEdge, WorkflowStructure
from agentsched.errors import ConfigError

RESEARCH = WorkflowStructure(
    framework="test",
    nodes=("plan", "search", "write"),
    edges=(
        StructureEdge("plan", "search", EdgeKind.FAN_OUT),
        StructureEdge("search", "write"),
        StructureEdge("write", "plan", EdgeKind.CONDITIONAL),
    ),
    entry=("plan",),
    ends=("write",),
    joins=("write",),
    bounds={"plan": 3},
    calls={"search": 4},
    max_steps=25,
)


def test_it_is_the_same_after_json() -> None:
    assert WorkflowStructure.from_json(json.loads(json.dumps(RESEARCH.to_json()))) == RESEARCH


def test_it_can_key_what_is_known_and_tells_what_follows() -> None:
    assert len({RESEARCH, WorkflowStructure.from_json(RESEARCH.to_json())}) == 1
    assert RESEARCH.after("plan") == (StructureEdge("plan", "search", EdgeKind.FAN_OUT),)
    assert RESEARCH.after("nowhere") == ()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"nodes": ("plan", "plan")}, "nodes"),
        ({"edges": (StructureEdge("plan", "fly"),)}, "edges"),
        ({"entry": ("fly",)}, "entry"),
        ({"ends": ("fly",)}, "ends"),
        ({"joins": ("fly",)}, "joins"),
        ({"bounds": {"fly": 1}}, "bounds"),
        ({"calls": {"fly": 1}}, "calls"),
    ],
)
def test_what_names_no_step_is_an_error(changes: dict, field: str) -> None:
    with pytest.raises(ConfigError, match=f"structure.{field}"):
        WorkflowStructure(**{"framework": "test", "nodes": ("plan",)} | changes)


@pytest.mark.parametrize("damage", [{"edges": [["plan"]]}, {"edges": [["plan", "write", "maybe"]]}, {"nodes": None}])
def test_other_data_is_an_error(damage: dict) -> None:
    with pytest.raises(ConfigError, match="structure"):
        WorkflowStructure.from_json(RESEARCH.to_json() | damage)


def test_its_bounds_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        RESEARCH.bounds["plan"] = 4  # type: ignore[index]
