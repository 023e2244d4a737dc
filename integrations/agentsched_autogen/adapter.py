"""Puts the adapter in: which of AutoGen's public methods it stands around, and what it does there."""

import functools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from agentsched.workflow.adapting import put_in_once, replace_on_import
from agentsched.workflow.replacing import ReplacedMethod
from agentsched.workflow.steps import register_step_source
from agentsched.workflow.structure import tell_structure
from agentsched_autogen.messages import delivering, sending
from agentsched_autogen.naming import PLACES, current_step, name_of_run
from agentsched_autogen.structure import team_structure
from agentsched_autogen.teams import ASSISTANT, SOCIETY, TEAMS, dumping, remembering

__all__ = ["install"]


@put_in_once
def install() -> Callable[[], None]:
    """Name the steps of runs after AutoGen's agents, let runs travel with messages, tell the structure of teams.

    Imports nothing: a program that never loads AutoGen pays for a look into `sys.modules` at each model call, and one
    that loads it inside the run is served from then on.

    Returns:
        A function that undoes it; calling it twice does no harm.
    """
    undo_names = register_step_source(current_step)
    undo_methods = replace_on_import(
        {
            "autogen_core": _of_core,
            "autogen_agentchat.agents": _of_agents,
            "autogen_agentchat.teams": _of_teams,
        }
    )

    def undo() -> None:
        undo_names()
        undo_methods()

    return undo


def _of_core(core: ModuleType) -> Iterator[ReplacedMethod]:
    for name in ("send_message", "publish_message"):
        yield ReplacedMethod(core.SingleThreadedAgentRuntime, name, sending)
    yield ReplacedMethod(core.BaseAgent, "on_message", delivering)
    yield ReplacedMethod(core.ComponentToConfig, "dump_component", dumping)


def _of_agents(agents: ModuleType) -> Iterator[ReplacedMethod]:
    for name in (ASSISTANT, SOCIETY):
        yield ReplacedMethod(getattr(agents, name), "__init__", remembering)
    for name in ("run", "run_stream"):
        yield ReplacedMethod(agents.BaseChatAgent, name, PLACES.around(name_of_run))


def _of_teams(teams: ModuleType) -> Iterator[ReplacedMethod]:
    for name in TEAMS:
        yield ReplacedMethod(getattr(teams, name), "__init__", remembering)
    yield ReplacedMethod(teams.BaseGroupChat, "run_stream", _telling_structure)


def _telling_structure(replaced: ReplacedMethod, original: Callable[..., Any]) -> object:
    """``run`` goes through ``run_stream``. A team that an agent starts is part of that agent's step."""

    @functools.wraps(original)
    def run_stream(team: Any, *args: Any, **options: Any) -> Any:
        if replaced.on and current_step() is None:
            tell_structure(team, lambda: team_structure(team))
        return original(team, *args, **options)

    return run_stream
