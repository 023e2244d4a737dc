"""Puts the adapter in: which of CrewAI's public methods it stands around, and what it does there."""

import functools
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

from agentsched.workflow.adapting import put_in_once, replace_on_import
from agentsched.workflow.holding import held_generator
from agentsched.workflow.replacing import ReplacedMethod
from agentsched.workflow.steps import register_step_source
from agentsched.workflow.structure import tell_structure
from agentsched_crewai.flows import AROUND, flow_structure, within_flow
from agentsched_crewai.naming import PLACES, current_step, current_task, name_of_agent, name_of_task, remember_role
from agentsched_crewai.structure import crew_structure

__all__ = ["install"]


@put_in_once
def install() -> Callable[[], None]:
    """Name the steps of runs after CrewAI's tasks and agents, and tell the structure of crews, from now on.

    Imports nothing: a program that never loads CrewAI pays for a look into `sys.modules` at each model call, and one
    that loads it inside the run is served from then on.

    Returns:
        A function that undoes it; calling it twice does no harm.
    """
    undo_names = register_step_source(current_step, current_task)
    undo_methods = replace_on_import({"crewai": _of_crewai, "crewai.types.streaming": _of_streaming})

    def undo() -> None:
        undo_names()
        undo_methods()

    return undo


def _of_crewai(crewai: ModuleType) -> Iterator[ReplacedMethod]:
    for name in ("execute_sync", "execute_async", "aexecute_sync"):
        yield ReplacedMethod(_definer(crewai.Task, name), name, PLACES.around(name_of_task))
    for name in ("execute_task", "aexecute_task", "kickoff", "kickoff_async"):
        yield ReplacedMethod(_definer(crewai.Agent, name), name, PLACES.around(name_of_agent))
    yield ReplacedMethod(_definer(crewai.Agent, "interpolate_inputs"), "interpolate_inputs", _remembering_roles)
    for name in ("kickoff", "akickoff"):
        yield ReplacedMethod(_definer(crewai.Crew, name), name, _telling_structure)
    yield ReplacedMethod(_definer(crewai.Flow, "kickoff_async"), "kickoff_async", _telling_flow)


def _of_streaming(streaming: ModuleType) -> Iterator[ReplacedMethod]:
    for owner in (streaming.StreamingOutputBase, streaming.StreamSessionBase):
        yield ReplacedMethod(owner, "__init__", _holding_iterators)


def _definer(owner: type, name: str) -> type:
    """The class that ``owner`` has the method from."""
    return next(each for each in owner.__mro__ if name in vars(each))


def _remembering_roles(replaced: ReplacedMethod, original: Callable[..., Any]) -> object:
    @functools.wraps(original)
    def interpolate_inputs(agent: Any, *args: Any, **options: Any) -> Any:
        if replaced.on:
            remember_role(agent)
        return original(agent, *args, **options)

    return interpolate_inputs


def _telling_structure(replaced: ReplacedMethod, original: Callable[..., Any]) -> object:
    """A crew that another crew's agent starts is part of that agent's step."""

    @functools.wraps(original)
    def kickoff(crew: Any, *args: Any, **options: Any) -> Any:
        if replaced.on and PLACES.current() is None:
            tell_structure(crew, within_flow(lambda: crew_structure(crew)))
        return original(crew, *args, **options)

    @functools.wraps(original)
    async def akickoff(crew: Any, *args: Any, **options: Any) -> Any:
        if replaced.on and PLACES.current() is None:
            tell_structure(crew, within_flow(lambda: crew_structure(crew)))
        return await original(crew, *args, **options)

    return akickoff if original.__name__ == "akickoff" else kickoff


def _telling_flow(replaced: ReplacedMethod, original: Callable[..., Any]) -> object:
    """The outermost flow only: agents execute as flows as well. ``kickoff`` and ``akickoff`` go through this."""

    @functools.wraps(original)
    async def kickoff_async(flow: Any, *args: Any, **options: Any) -> Any:
        if not replaced.on or current_step() is not None:
            return await original(flow, *args, **options)
        kind = type(flow)
        token = AROUND.set(tell_structure(kind, lambda: flow_structure(kind)))
        try:
            return await original(flow, *args, **options)
        finally:
            with suppress(ValueError):  # closed by someone else's context, which was never entered
                AROUND.reset(token)

    return kickoff_async


def _holding_iterators(replaced: ReplacedMethod, original: Callable[..., None]) -> object:
    """A crew that streams works while its output is read, which may be after the workflow has returned it."""

    @functools.wraps(original)
    def init(output: Any, sync_iterator: Any = None, async_iterator: Any = None) -> None:
        if replaced.on:
            sync_iterator, async_iterator = held_generator(sync_iterator), held_generator(async_iterator)
        original(output, sync_iterator, async_iterator)

    return init
