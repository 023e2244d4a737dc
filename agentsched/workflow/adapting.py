"""What the adapters of agent frameworks are made of: wait for the framework, replace methods, name steps."""

import functools
import importlib
import inspect
import logging
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from contextvars import ContextVar, Token
from types import ModuleType
from typing import Any

from agentsched.workflow.arrival import ArrivalWatch
from agentsched.workflow.cutoff import Cutoff
from agentsched.workflow.drivers import async_generator_driver
from agentsched.workflow.replacing import Around, ReplacedMethod

__all__ = ["NamedPlace", "NamedPlaces", "put_in_once", "replace_on_import"]

_log = logging.getLogger("agentsched")


def put_in_once(install: Callable[[], Callable[[], None]]) -> Callable[[], Callable[[], None]]:
    """Let an adapter's ``install`` be called by several, a run and the user, say: what is in twice would tell twice.

    The first call puts the adapter in, and the last of their undos takes it out.
    """
    lock, undos = threading.Lock(), list[Callable[[], None]]()
    users = 0

    @functools.wraps(install)
    def install_once() -> Callable[[], None]:
        nonlocal users
        with lock:
            if users == 0:
                undos.append(install())
            users += 1
        left = threading.Event()

        def undo() -> None:
            nonlocal users
            with lock:
                if left.is_set():
                    return
                left.set()
                users -= 1
                if users == 0:
                    undos.pop()()

        return undo

    return install_once


def replace_on_import(methods: Mapping[str, Callable[[ModuleType], Iterable[ReplacedMethod]]]) -> Callable[[], None]:
    """Replace methods of modules: of those that are loaded now, of the others when somebody imports them.

    A module that lacks what is looked for is left as it is, with a warning: the framework then only misses what the
    adapter adds.

    Args:
        methods: by module, what names its methods.

    Returns:
        A function that undoes it; calling it twice does no harm.
    """
    return _Replacing(methods).undo


class _Replacing:
    def __init__(self, methods: Mapping[str, Callable[[ModuleType], Iterable[ReplacedMethod]]]) -> None:
        self._methods = methods
        self._lock = threading.RLock()
        self._replaced: list[ReplacedMethod] = []
        self._arrived: set[str] = set()
        self._watch = ArrivalWatch(list(methods), lambda name: self._replace(sys.modules[name]))
        self._watch.start()
        for name in methods:
            if name in sys.modules:
                # Imports nothing; waits for another thread that is in the middle of importing it.
                self._replace(importlib.import_module(name))

    def _replace(self, module: ModuleType) -> None:
        with self._lock:
            if module.__name__ in self._arrived:
                return
            self._arrived.add(module.__name__)
            try:
                for method in self._methods[module.__name__](module):
                    method.install()
                    self._replaced.append(method)
            except (AttributeError, KeyError, ImportError) as error:
                _log.warning("%s is of a version that agentsched's adapter does not know: %r", module.__name__, error)

    def undo(self) -> None:
        with self._lock:
            self._watch.stop()
            self._arrived.update(self._methods)
            while self._replaced:
                self._replaced.pop().uninstall()


class NamedPlace:
    """The scope in which a framework executes one of its steps; a `drivers.Lifetime` that begins and ends nothing."""

    __slots__ = ("_name", "_token", "_variable")

    def __init__(self, variable: ContextVar[str | None], name: str | None) -> None:
        self._variable, self._name = variable, name
        self._token: Token[str | None]

    def resume(self) -> None:
        """See `drivers.Lifetime`."""
        self._token = self._variable.set(self._name)

    def suspend(self) -> None:
        """See `drivers.Lifetime`."""
        try:
            self._variable.reset(self._token)
        except ValueError:
            return  # closed by someone else's context, which was never entered

    def cutoff(self) -> Cutoff:
        """See `drivers.Lifetime`."""
        return Cutoff(None, lambda: None)

    def done(self) -> None:
        """See `drivers.Lifetime`."""

    def fail(self, error: BaseException, *, cut: bool = False, yielded: bool = False) -> None:
        """See `drivers.Lifetime`."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Execute a block in this place."""
        self.resume()
        try:
            yield
        finally:
            self.suspend()


class NamedPlaces:
    """Where a framework is, for one that says so only by the public methods that it calls.

    Args:
        variable: a context variable of the adapter's own.
    """

    def __init__(self, variable: ContextVar[str | None]) -> None:
        self._variable = variable

    def current(self) -> str | None:
        """The name of the innermost place around the caller."""
        return self._variable.get()

    def around(self, name_of: Callable[..., str | None]) -> Around:
        """For `ReplacedMethod`: while the method runs, its place has a name. The method keeps its kind.

        Args:
            name_of: gets the name of the place around it, then what the method gets; None: the name around holds.
        """

        def replace(replaced: ReplacedMethod, original: Callable[..., Any]) -> object:
            def place(*args: Any, **options: Any) -> NamedPlace:
                outer = self._variable.get()
                name = name_of(outer, *args, **options) if replaced.on else None
                return NamedPlace(self._variable, name or outer)

            return functools.wraps(original)(_in_place(original, place))

        return replace


def _in_place(original: Callable[..., Any], place: Callable[..., NamedPlace]) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(original):

        async def generator(*args: Any, **options: Any) -> AsyncGenerator[Any, None]:
            inside = place(*args, **options)
            async with aclosing(async_generator_driver(original, lambda *_, **__: inside)(*args, **options)) as items:
                async for item in items:
                    yield item

        return generator
    if inspect.iscoroutinefunction(original):

        async def coroutine(*args: Any, **options: Any) -> Any:
            with place(*args, **options).applied():
                return await original(*args, **options)

        return coroutine

    def function(*args: Any, **options: Any) -> Any:
        with place(*args, **options).applied():
            return original(*args, **options)

    return function
