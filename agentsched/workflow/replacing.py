"""Public methods and functions of other people, replaced for a while."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["Around", "ReplacedMethod"]

Around = Callable[["ReplacedMethod", Callable[..., Any]], object]
"""Makes the new method from the old one; the new one asks ``replaced.on`` whether it has anything to do."""

_INHERITED = object()


class ReplacedMethod:
    """One method replaced while it is on; another tool may have wrapped ours meanwhile, which then only passes on.

    Args:
        owner: the class, or the module.
        name: the method's or function's name; a class may inherit it.
        around: makes the new method.
    """

    def __init__(self, owner: type | ModuleType, name: str, around: Around) -> None:
        self._owner, self._name, self._around = owner, name, around
        self._layers: list[tuple[object, object]] = []  # ours, and what it replaced
        self.on = False

    @property
    def installed(self) -> bool:
        """Whether our method is the one that the owner has."""
        current = self._current()
        return self.on and any(current is ours for ours, _ in self._layers)

    def install(self) -> None:
        """Put our method in; once is enough."""
        current = self._current()
        if not any(current is ours for ours, _ in self._layers):
            # As the owner hands it out: a wrapper that is a descriptor (wrapt's) must learn whose method it is.
            ours = self._around(self, getattr(self._owner, self._name))
            self._layers.append((ours, current))
            setattr(self._owner, self._name, ours)
        self.on = True

    def uninstall(self) -> None:
        """Put the method back that was there before ours, unless somebody else has wrapped ours."""
        self.on = False
        for ours, replaced in reversed(self._layers):
            if self._current() is ours:
                if replaced is _INHERITED:
                    delattr(self._owner, self._name)
                else:
                    setattr(self._owner, self._name, replaced)
                self._layers.remove((ours, replaced))

    def _current(self) -> object:
        return vars(self._owner).get(self._name, _INHERITED)
