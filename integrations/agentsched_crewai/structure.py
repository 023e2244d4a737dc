"""What a crew says of itself before it starts: its tasks in order, what runs side by side, who may be asked."""

from typing import Any

from agentsched.core.structure import EdgeKind, StructureEdge, WorkflowStructure
from agentsched_crewai.naming import agent_label, flow_method, name_of_agent, name_of_task

__all__ = ["crew_structure"]

_DEFAULT_MANAGER = "Crew Manager"
_PLANNER = "Task Execution Planner"
_GUARD = "Guardrail Agent"
"""Who looks at the output of a task whose guardrail is a text."""
_DEFAULT_ROUNDS = 25
"""``max_iter`` of the manager that a crew makes for itself: CrewAI's default."""
_CONVERSIONS = 3
"""How often CrewAI asks a model to bring an answer into the wanted form."""
_AGENT_EXTRAS = ("memory", "knowledge_sources", "planning_config", "reasoning")
"""What has an agent ask its model beside its tasks."""


def crew_structure(crew: Any) -> WorkflowStructure | None:
    """The structure of a crew; None for one without tasks.

    Tasks with ``async_execution`` run side by side, and the next one without it waits for all of them. A
    ``ConditionalTask`` may be left out. Under the hierarchical process the manager does every task and may delegate to
    any agent. One visit of a step makes up to ``max_iter`` calls and one that sums up, and some for an output of a
    certain form; a guardrail may have it done again, and one that is a text asks a model itself, in a step of its own.
    Where models are asked for more than that (memory, knowledge, agents that plan) nothing bounds the calls.
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
        self._unsure: set[str] = set()
        self._unbounded: set[str] = set()
        if crew.planning:
            planner = "/".join(part for part in (flow_method(), _PLANNER) if part)
            self._visit(planner, calls=_DEFAULT_ROUNDS + 1 + _CONVERSIONS)
            self._entry[planner] = None
            self._front = [planner]

    def add(self, task: Any) -> None:
        name, agent = self._doer(task)
        again = 1 + (task.guardrail_max_retries if task.guardrail or task.guardrails else 0)
        rounds = _DEFAULT_ROUNDS if agent is None else agent.max_iter
        conversions = _CONVERSIONS if task.output_pydantic or task.output_json else 0
        self._visit(name, calls=rounds + 1 + conversions, times=again)
        if self._asks_more(agent):
            self._unbounded.add(name)
        if not task.async_execution and self._beside:
            if len(self._beside) > 1:
                self._joins[name] = None
            self._front, self._beside = self._beside, []
        self._link(name, conditional=hasattr(task, "condition"))
        last = self._guarded(task, name)
        if task.async_execution:
            self._beside.append(last)
        elif hasattr(task, "condition"):
            self._front = [*self._front, last]
            self._unsure.add(last)
        else:
            self._front = [last]
        if self._hierarchical:
            self._delegates(name)

    def _guarded(self, task: Any, name: str) -> str:
        """The last step of a task: its own, or that of its guardrail if that is a text, for a model to judge by."""
        several = task.guardrails if isinstance(task.guardrails, (list, tuple)) else [task.guardrails]
        if not any(isinstance(guard, str) for guard in (task.guardrail, *several)):
            return name
        guard = name_of_agent(name, _Stand(self._crew, _GUARD)) or name
        self._nodes.setdefault(guard, 0)
        self._edges[StructureEdge(name, guard)] = None
        if task.guardrail_max_retries:
            self._edges[StructureEdge(guard, name, EdgeKind.CONDITIONAL)] = None
            self._unsure.add(guard)  # what follows it is not sure: it may go back
        return guard

    def _doer(self, task: Any) -> tuple[str, Any]:
        """The step of a task, and the agent that does it; None if the crew makes that one when it starts."""
        agent = self._crew.manager_agent if self._hierarchical else task.agent
        role = _DEFAULT_MANAGER if agent is None else agent_label(agent)
        # Agents are told which crew they work for only when it starts.
        return name_of_task(None, task, _Stand(self._crew, role)) or role, agent

    def _asks_more(self, agent: Any) -> bool:
        """Whether models are asked for more than the task and its form."""
        crew = self._crew
        extras = (crew.memory, crew.knowledge_sources, *(getattr(agent, name, None) for name in _AGENT_EXTRAS))
        return any(extras)

    def _visit(self, name: str, *, calls: int, times: int = 1) -> None:
        self._nodes[name] = self._nodes.get(name, 0) + times
        self._calls[name] = max(self._calls.get(name, 0), calls)

    def _link(self, name: str, *, conditional: bool) -> None:
        if not self._front:
            self._entry[name] = None
        # What follows a task that may be left out may also follow what came before that one.
        unsure = conditional or any(each in self._unsure for each in self._front)
        kind = EdgeKind.CONDITIONAL if unsure else EdgeKind.PLAIN
        for before in self._front:
            self._edges[StructureEdge(before, name, kind)] = None

    def _delegates(self, manager: str) -> None:
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
            bounds={name: count for name, count in self._nodes.items() if count and name not in self._unbounded},
            calls=self._calls,
        )


class _Stand:
    """Stands for an agent as it will be when its crew has started."""

    def __init__(self, crew: Any, role: str) -> None:
        self.crew, self.role, self.id = crew, role, ""
