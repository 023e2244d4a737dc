"""The whole demonstration, without a user interface."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from agentsched.demo.arms import run_arm
from agentsched.demo.plan import ARMS, Arm, Plan
from agentsched.demo.results import ArmResult, Ended
from agentsched.errors import ConfigError

__all__ = ["Watcher", "compare", "document", "require_packages"]

_NEEDED = ("langgraph", "langchain_openai", "matplotlib")


class Watcher(Protocol):
    """Who is told of the progress."""

    def begin(self, arm: Arm) -> None:
        """An arm starts."""

    def ended(self, arm: Arm, ended: Ended) -> None:
        """A workflow of this arm has ended."""

    def finish(self, arm: Arm) -> None:
        """The arm is over."""


def require_packages(find: Callable[[str], object] = find_spec) -> None:
    """Make sure that what the demonstration needs is installed.

    Raises:
        ConfigError: it is not; says how to install it.
    """
    missing = [name for name in _NEEDED if find(name) is None]
    if missing:
        raise ConfigError(f"the demo needs {', '.join(missing)}; install it with: pip install 'agentsched[demo]'")


def compare(plan: Plan, directory: Path, watcher: Watcher) -> list[ArmResult]:
    """Run all arms, one after the other.

    Args:
        plan: the comparison.
        directory: where pool.yaml and the decision log of the decorated arm go; both are replaced.
        watcher: told of the progress.

    Raises:
        AgentschedError: a process could not be started or failed.
    """
    results = []
    for arm in ARMS:
        watcher.begin(arm)
        results.append(run_arm(plan, arm, directory, partial(watcher.ended, arm)))
        watcher.finish(arm)
    return results


def document(plan: Plan, results: Sequence[ArmResult]) -> dict[str, Any]:
    """The comparison for ``--json``; seconds, tokens, USD. An arm's ``figures`` are null if it was not on time."""
    settings = {name: getattr(plan, name) for name in plan.__slots__}
    return {
        "schema": 1,
        "plan": {**settings, "patience_s": plan.patience_s},
        "same_answers": same_answers(results),
        "arms": [result.to_dict() for result in results],
    }


def same_answers(results: Sequence[ArmResult]) -> bool:
    """Whether every workflow that was answered in several arms was answered with the same text."""
    seen: dict[int, set[str]] = {}
    for result in results:
        for ended in result.ended:
            if ended.digest:
                seen.setdefault(ended.case, set()).add(ended.digest)
    return all(len(digests) == 1 for digests in seen.values())
