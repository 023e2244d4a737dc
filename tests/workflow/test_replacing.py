"""Methods that other tools have wrapped before us, or wrap after us."""

from collections.abc import Callable
from typing import Any

from agentsched.workflow.replacing import ReplacedMethod


class Wrapper:
    """A wrapper as tracing tools make them (wrapt): a descriptor, which learns from being asked whose method it is."""

    def __init__(self, wrapped: Any, seen: list[object], instance: object = None) -> None:
        self._wrapped, self._seen, self._instance = wrapped, seen, instance

    def __get__(self, instance: object, owner: type) -> "Wrapper":
        if instance is None:
            return Unbound(self._wrapped, self._seen)
        return Wrapper(self._wrapped.__get__(instance, owner), self._seen, instance)

    def __call__(self, *args: object) -> object:
        self._seen.append(self._instance)
        return self._wrapped(*args)


class Unbound(Wrapper):
    """What the class hands out: the first argument is the instance."""

    def __call__(self, *args: object) -> object:
        self._seen.append(args[0])
        return self._wrapped(*args)


def double(patch: ReplacedMethod, original: Callable[..., Any]) -> object:
    def ours(self: object, *args: Any) -> Any:
        return original(self, *args) * (2 if patch.on else 1)

    return ours


class Tool:
    def value(self, number: int) -> int:
        return number


def fresh() -> Any:
    return type("Fresh", (), {"value": Tool.value})


def test_a_wrapper_that_was_there_before_learns_whose_method_it_is() -> None:
    owner, seen = fresh(), list[object]()
    theirs = owner.value = Wrapper(Tool.value, seen)
    patch = ReplacedMethod(owner, "value", double)
    patch.install()
    tool = owner()
    assert tool.value(2) == 4
    assert seen == [tool]
    patch.uninstall()
    assert vars(owner)["value"] is theirs
    assert tool.value(2) == 2


def test_a_wrapper_that_comes_later_stays_and_ours_passes_on() -> None:
    owner, seen = fresh(), list[object]()
    patch = ReplacedMethod(owner, "value", double)
    patch.install()
    theirs = owner.value = Wrapper(vars(owner)["value"], seen)
    tool = owner()
    assert tool.value(2) == 4
    patch.uninstall()
    assert vars(owner)["value"] is theirs
    assert tool.value(2) == 2
    assert seen == [tool, tool]


def test_a_method_that_is_inherited_is_again_afterwards() -> None:
    owner = type("Heir", (Tool,), {})
    patch = ReplacedMethod(owner, "value", double)
    patch.install()
    assert (owner().value(2), Tool().value(2)) == (4, 2)
    patch.uninstall()
    assert "value" not in vars(owner)
    assert owner().value(2) == 2
