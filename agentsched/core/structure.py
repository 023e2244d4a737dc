"""What is known of a workflow before it has ever run: its steps and what may follow each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from agentsched.errors import ConfigError

__all__ = ["EdgeKind", "StructureEdge", "WorkflowStructure"]


class EdgeKind(StrEnum):
    """When the step at an edge's end follows the one at its start."""

    PLAIN = "plain"
    """Always; of several plain edges from one step all are taken, side by side."""
    CONDITIONAL = "conditional"
    """If the program decides so; of several conditional edges from one step usually one is taken."""
    FAN_OUT = "fan_out"
    """Any number of times side by side, zero included; how often is decided when it happens."""


@dataclass(frozen=True, slots=True)
class StructureEdge:
    """One step may follow another."""

    source: str
    target: str
    kind: EdgeKind = EdgeKind.PLAIN


@dataclass(frozen=True, slots=True)
class WorkflowStructure:
    """A workflow as its framework describes it. Steps are named as the framework's adapter names them in a run.

    Attributes:
        framework: who described it, e.g. ``langgraph``.
        nodes: the steps, in the order in which they were defined.
        edges: what may follow what; cycles are loops.
        entry: the steps that a run begins with, side by side if there are several.
        ends: the steps after which a run may be over.
        joins: the steps that begin only when every branch running before them has ended.
        bounds: the most times a step may come in one run, where the framework bounds it; other steps are unbounded.
        calls: the most model calls that one visit of a step may make, where the framework bounds it (rounds of tools).
        max_steps: the most steps of all kinds that one run may make; None: unbounded.

    Raises:
        ConfigError: an edge, an entry, an end or a bound names a step that is none of the nodes, or a name comes twice.
    """

    framework: str
    nodes: tuple[str, ...]
    edges: tuple[StructureEdge, ...] = ()
    entry: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    bounds: Mapping[str, int] = field(default_factory=dict, hash=False)
    calls: Mapping[str, int] = field(default_factory=dict, hash=False)
    max_steps: int | None = None

    def __post_init__(self) -> None:
        known = set(self.nodes)
        if len(known) != len(self.nodes):
            raise ConfigError("a step comes twice", field="structure.nodes", given=list(self.nodes))
        named = {
            "edges": {name for edge in self.edges for name in (edge.source, edge.target)},
            "entry": set(self.entry),
            "ends": set(self.ends),
            "joins": set(self.joins),
            "bounds": set(self.bounds),
            "calls": set(self.calls),
        }
        for attribute, names in named.items():
            if unknown := names - known:
                field_name, allowed = f"structure.{attribute}", ", ".join(self.nodes)
                raise ConfigError("no such step", field=field_name, given=sorted(unknown), allowed=allowed)
        object.__setattr__(self, "bounds", MappingProxyType(dict(self.bounds)))
        object.__setattr__(self, "calls", MappingProxyType(dict(self.calls)))

    def after(self, step: str) -> tuple[StructureEdge, ...]:
        """The edges that leave ``step``."""
        return tuple(edge for edge in self.edges if edge.source == step)

    def to_json(self) -> dict[str, Any]:
        """As plain data, for `from_json`."""
        return {
            "framework": self.framework,
            "nodes": list(self.nodes),
            "edges": [[edge.source, edge.target, edge.kind.value] for edge in self.edges],
            "entry": list(self.entry),
            "ends": list(self.ends),
            "joins": list(self.joins),
            "bounds": dict(self.bounds),
            "calls": dict(self.calls),
            "max_steps": self.max_steps,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "WorkflowStructure":
        """What `to_json` gave.

        Raises:
            ConfigError: it is not of that form.
        """
        try:
            return cls(
                framework=data["framework"],
                nodes=tuple(data["nodes"]),
                edges=tuple(StructureEdge(source, target, EdgeKind(kind)) for source, target, kind in data["edges"]),
                entry=tuple(data["entry"]),
                ends=tuple(data["ends"]),
                joins=tuple(data["joins"]),
                bounds=data["bounds"],
                calls=data["calls"],
                max_steps=data["max_steps"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError("not a workflow's structure", field="structure", given=data) from error
