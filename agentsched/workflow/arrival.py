"""Tells when a module has been imported, whoever imports it, without importing it."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

__all__ = ["ArrivalWatch"]


class ArrivalWatch(importlib.abc.MetaPathFinder):
    """Stands before the other finders while it is on; changes nothing but that ``arrived`` is called.

    Args:
        names: top-level modules to wait for.
        arrived: called with the name once such a module is whole, in the thread that imported it.
    """

    def __init__(self, names: Sequence[str], arrived: Callable[[str], None]) -> None:
        self._names = frozenset(names)
        self._arrived = arrived

    def start(self) -> None:
        """Begin to watch; once is enough."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Leave no trace."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module as the path finder finds it, with a loader that says when it is done."""
        if fullname not in self._names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Announcing(spec.loader, self._arrived)
        return spec


class _Announcing(importlib.abc.Loader):
    """Loads as the inner loader does, puts that one back, and tells."""

    def __init__(self, inner: importlib.abc.Loader, arrived: Callable[[str], None]) -> None:
        self._inner, self._arrived = inner, arrived

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._inner
        if module.__spec__ is not None:
            module.__spec__.loader = self._inner
        self._inner.exec_module(module)
        self._arrived(module.__name__)
