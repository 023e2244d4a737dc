"""What a crew says of itself before it starts: its tasks in order, what runs side by side, who may be asked."""

from typing import Any

from agentsched.core.structure import EdgeKind, StructureEdge, WorkflowStructure
from agentsched_crewai.naming import agent_label, flow_method, name_of_agent, name_of_task

__all__ = ["crew_structure"]

_DEFAULT_MANAGER = "Crew Manager"
_PLANNER = "Task Execution Planner"


def crew_structure(crew: Any) -> WorkflowStructure | None:
    """The structure of a crew; None for one without tasks.

    Tasks with ``async_execution`` run side by side, and the next one without it waits for all of them. A
    ``ConditionalTask`` may be left out. Under the hierarchical process the manager does every task and may delegate to
    any agent. One visit of a step makes up to ``max_iter`` calls and one that sums up; a guardrail may have it done
    again.
    """
    if not crew.tasks:
        return None
    building = _Building(crew)
    for task in crew.tasks:
        building.add(task)
    return building.finish()


class _Building:
    """Goes through the tasks; ``front`` holds what the next task follows."""

    def __init__(self, crew: Any) -> None:
        self._crew = crew
        self._hierarchical = str(getattr(crew.process, "value", crew.process)) == "hierarchical"
        self._nodes: dict[str, int] = {}
        self._edges: dict[StructureEdge, None] = {}
        self._calls: dict[str, int] = {}
        self._joins: dict[str, None] = {}
        self._entry: dict[str, None] = {}
        self._front: list[str] = []
        self._beside: list[str] = []
        self._skippable: set[str] = set()
        if crew.planning:
            planner = "/".join(part for part in (flow_method(), _PLANNER) if part)
            self._visit(planner, rounds=1)
            self._entry[planner] = None
            self._front = [planner]

    def add(self, task: Any) -> None:
        name, agent = self._doer(task)
        again = 1 + (task.guardrail_max_retries if task.guardrail or task.guardrails else 0)
        self._visit(name, rounds=getattr(agent, "max_iter", None), times=again)
        if not task.async_execution and self._beside:
            if len(self._beside) > 1:
                self._joins[name] = None
            self._front, self._beside = self._beside, []
        self._link(name, conditional=hasattr(task, "condition"))
        if task.async_execution:
            self._beside.append(name)
        elif hasattr(task, "condition"):
            self._front = [*self._front, name]
            self._skippable.add(name)
        else:
            self._front = [name]
        if self._hierarchical:
            self._delegates(task, name)

    def _doer(self, task: Any) -> tuple[str, Any]:
        """The step of a task, and the agent that does it; None if the crew makes that one when it starts."""
        agent = self._crew.manager_agent if self._hierarchical else task.agent
        role = _DEFAULT_MANAGER if agent is None else agent_label(agent)
        # Agents are told which crew they work for only when it starts.
        return name_of_task(None, task, _Stand(self._crew, role)) or role, agent

    def _visit(self, name: str, *, rounds: int | None, times: int = 1) -> None:
        self._nodes[name] = self._nodes.get(name, 0) + times
        if rounds is not None:
            self._calls[name] = max(self._calls.get(name, 0), rounds + 1)

    def _link(self, name: str, *, conditional: bool) -> None:
        if not self._front:
            self._entry[name] = None
        # Whatever follows a task that may be left out may also follow what came before that one.
        unsure = conditional or any(each in self._skippable for each in self._front)
        kind = EdgeKind.CONDITIONAL if unsure else EdgeKind.PLAIN
        for before in self._front:
            self._edges[StructureEdge(before, name, kind)] = None

    def _delegates(self, task: Any, manager: str) -> None:
        for agent in self._crew.agents:
            name = name_of_agent(manager, agent)
            if name is not None and name != manager:
                self._nodes.setdefault(name, 0)
                self._calls[name] = agent.max_iter + 1
                self._edges[StructureEdge(manager, name, EdgeKind.CONDITIONAL)] = None
                self._edges[StructureEdge(name, manager)] = None

    def finish(self) -> WorkflowStructure:
        return WorkflowStructure(
            framework="crewai",
            nodes=tuple(self._nodes),
            edges=tuple(self._edges),
            entry=tuple(self._entry),
            ends=tuple(dict.fromkeys(self._beside or self._front)),
            joins=tuple(self._joins),
            bounds={name: count for name, count in self._nodes.items() if count},
            calls=self._calls,
        )


class _Stand:
    """Stands for an agent as it will be when its crew has started."""

    def __init__(self, crew: Any, role: str) -> None:
        self.crew, self.role, self.id = crew, role, ""
