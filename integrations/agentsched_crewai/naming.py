"""The step's name in a CrewAI program: flow method, task and agent role, set where CrewAI calls its public methods."""

import sys
from collections import OrderedDict
from contextvars import ContextVar
from typing import Any

from agentsched.workflow.adapting import NamedPlaces

__all__ = [
    "PLACES",
    "agent_label",
    "current_step",
    "current_task",
    "name_of_agent",
    "name_of_task",
    "remember_role",
    "task_label",
]

PLACES = NamedPlaces(ContextVar("agentsched_crewai", default=None))
"""Where CrewAI is."""

_FLOW_MODULE = "crewai.flow.flow_context"
_NO_METHOD = "unknown"
_REMEMBERED = 4096
_templates: OrderedDict[str, str] = OrderedDict()


def current_step() -> str | None:
    """The step that CrewAI is executing in the caller's context.

    ``"research/Researcher"``: the task named ``research`` by the agent with that role; ``"task2/Writer"`` for a second
    task without a name; ``"draft/research/Researcher"`` in method ``draft`` of a flow. A role that holds the crew's
    inputs appears as it was written, ``"research/{topic} Researcher"``: steps are the same in every run. An agent that
    works for another one is named in that one's place: ``"research/Writer"``. A crew that an agent's tool starts is
    named behind that agent: ``"research/Researcher/task1/Helper"``. None outside CrewAI.
    """
    return PLACES.current() or flow_method()


def current_task() -> tuple[str, ...] | None:
    """The place as a path: flow methods, tasks and agents that have begun side by side never wait for one another."""
    step = current_step()
    return None if step is None else tuple(step.split("/"))


def flow_method() -> str | None:
    """The flow's method that is executing."""
    module = sys.modules.get(_FLOW_MODULE)
    variable: ContextVar[str] | None = getattr(module, "current_flow_method_name", None)
    method = None if variable is None else variable.get()
    return None if method is None or method == _NO_METHOD else method


def name_of_task(outer: str | None, task: Any, agent: Any = None, *_: Any, **__: Any) -> str | None:
    """The place of ``Task.execute_sync``, ``execute_async`` and ``aexecute_sync``."""
    return _joined(outer, task_label(task, agent or task.agent), agent or task.agent)


def name_of_agent(outer: str | None, agent: Any, task: Any = None, *_: Any, **__: Any) -> str | None:
    """The place of ``Agent.execute_task`` and ``aexecute_task``, and of ``kickoff``, which gets no task but texts."""
    label = task_label(task, agent) if hasattr(task, "expected_output") else None
    return _joined(outer, label, agent)


def _joined(outer: str | None, label: str | None, agent: Any) -> str | None:
    # Only the outermost place asks for a flow: the executor of an agent is a flow as well.
    around = flow_method() if outer is None else outer
    if outer is not None:
        path = outer.rpartition("/")[0]
        if label is None or f"/{path}".endswith(f"/{label}"):
            around, label = path, None
    role = None if agent is None else agent_label(agent)
    return "/".join(part for part in (around, label, role) if part) or None


def task_label(task: Any, agent: Any) -> str | None:
    """The task's name, else its place in the crew that the agent works for, else None: made on the way."""
    if task.name:
        return _plain(task.name)
    tasks = getattr(getattr(agent, "crew", None), "tasks", None) or ()
    for number, each in enumerate(tasks, 1):
        if each is task:
            return f"task{number}"
    return None


def agent_label(agent: Any) -> str:
    """The agent's role as it was written."""
    return _plain(_templates.get(str(agent.id)) or agent.role)


def remember_role(agent: Any) -> None:
    """Keep the role as it is before the crew's inputs are put in."""
    if "{" in agent.role and str(agent.id) not in _templates:
        _templates[str(agent.id)] = agent.role
        if len(_templates) > _REMEMBERED:
            _templates.popitem(last=False)


def _plain(name: str) -> str:
    return " ".join(name.replace("/", "-").split())
