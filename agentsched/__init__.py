"""Deadline-aware scheduling for LLM agents: one decorator bounds a whole workflow and routes each of its model calls.

Public names are loaded at their first use, so that importing the package costs next to nothing.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentsched.api import attach as attach
    from agentsched.api import best_so_far as best_so_far
    from agentsched.api import carry as carry
    from agentsched.api import check as check
    from agentsched.api import configure as configure
    from agentsched.api import current as current
    from agentsched.api import deadline as deadline
    from agentsched.api import feedback as feedback
    from agentsched.api import hint as hint
    from agentsched.api import instrument as instrument
    from agentsched.api import optional as optional
    from agentsched.api import propagate as propagate
    from agentsched.api import propagate_env as propagate_env
    from agentsched.api import step as step
    from agentsched.api import uninstrument as uninstrument
    from agentsched.api import workflow as workflow
    from agentsched.asgi import AgentschedMiddleware as AgentschedMiddleware
    from agentsched.core.endpoint import Endpoint as Endpoint
    from agentsched.core.endpoint import Group as Group
    from agentsched.core.endpoint import Pool as Pool
    from agentsched.core.endpoint import Price as Price
    from agentsched.core.endpoint import Profile as Profile
    from agentsched.core.endpoint import Tls as Tls
    from agentsched.core.slo import SLO as SLO
    from agentsched.core.slo import Budget as Budget
    from agentsched.core.slo import Deadline as Deadline
    from agentsched.errors import AdapterError as AdapterError
    from agentsched.errors import AgentschedError as AgentschedError
    from agentsched.errors import CallFailed as CallFailed
    from agentsched.errors import CallTimedOut as CallTimedOut
    from agentsched.errors import ConfigError as ConfigError
    from agentsched.errors import CostExceeded as CostExceeded
    from agentsched.errors import DeadlineExceeded as DeadlineExceeded
    from agentsched.errors import EndpointsSaturated as EndpointsSaturated
    from agentsched.errors import EndpointsUnavailable as EndpointsUnavailable
    from agentsched.errors import InvariantViolated as InvariantViolated
    from agentsched.errors import NoCapableEndpoint as NoCapableEndpoint
    from agentsched.errors import StateUnavailable as StateUnavailable
    from agentsched.errors import StepSkipped as StepSkipped
    from agentsched.errors import StreamBroken as StreamBroken
    from agentsched.intercept.clients import AsyncOpenAI as AsyncOpenAI
    from agentsched.intercept.clients import OpenAI as OpenAI
    from agentsched.workflow.retrying import stop_at_deadline as stop_at_deadline
    from agentsched.workflow.retrying import wait_within_deadline as wait_within_deadline
    from agentsched.workflow.scope import Run as Run

    __version__: str

_HOMES = {
    "api": (
        "attach best_so_far carry check configure current deadline feedback hint instrument optional "
        "propagate propagate_env step uninstrument workflow"
    ),
    "asgi": "AgentschedMiddleware",
    "core.endpoint": "Endpoint Group Pool Price Profile Tls",
    "core.slo": "SLO Budget Deadline",
    "errors": (
        "AdapterError AgentschedError CallFailed CallTimedOut ConfigError CostExceeded DeadlineExceeded "
        "EndpointsSaturated EndpointsUnavailable InvariantViolated NoCapableEndpoint StateUnavailable StepSkipped "
        "StreamBroken"
    ),
    "intercept.clients": "AsyncOpenAI OpenAI",
    "workflow.retrying": "stop_at_deadline wait_within_deadline",
    "workflow.scope": "Run",
}
_home_of = {name: f"agentsched.{home}" for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted([*_home_of, "__version__"])


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = _version()
    elif name in _home_of:
        value = getattr(import_module(_home_of[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    metadata = import_module("importlib.metadata")  # heavy for what it is
    try:
        return str(metadata.version("agentsched"))
    except metadata.PackageNotFoundError:
        return "0+unknown"  # a source tree that is not installed


class _Package(ModuleType):
    """Keeps the name ``workflow`` for the decorator: importing the room of the same name would take it."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "workflow" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
