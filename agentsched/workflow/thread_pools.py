"""Jobs of ``multiprocessing``'s pools of threads: each belongs to the run that hands it in, whoever made the pool.

They are looked for when somebody imports them: most programs never do.
"""

import functools
import sys
import threading
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from agentsched.workflow.arrival import ArrivalWatch
from agentsched.workflow.replacing import Around, ReplacedMethod

__all__ = ["ThreadPools"]

_MODULE = "multiprocessing.pool"
_ONE_JOB = ("apply_async", "imap", "imap_unordered")
_JOB_PER_ITEM = ("map", "map_async", "starmap", "starmap_async")
"""``apply`` goes through ``apply_async``. The items of ``imap`` are drawn by a thread of the pool, one at a time."""
_CALLBACKS = ("callback", "error_callback")

Bind = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Binds a function to the place of whoever hands it in as a job."""


class ThreadPools:
    """Stands around the methods by which such a pool gets its jobs, while it is on.

    Args:
        bind: see `Bind`; asked in the caller's thread, once per job.
    """

    def __init__(self, bind: Bind) -> None:
        self._bind = bind
        self._lock = threading.Lock()
        self._replaced: tuple[ReplacedMethod, ...] = ()
        self._watch = ArrivalWatch((_MODULE,), lambda name: self._replace(sys.modules[name]))

    def install(self) -> None:
        """Begin; once is enough."""
        self._watch.start()
        if _MODULE in sys.modules:
            self._replace(sys.modules[_MODULE])

    def uninstall(self) -> None:
        """Put the original methods back. Idempotent."""
        self._watch.stop()
        for method in self._replaced:
            method.uninstall()

    def _replace(self, module: ModuleType) -> None:
        with self._lock:
            if not self._replaced:
                one, several = self._around(module.ThreadPool, _bound), self._around(module.ThreadPool, _bound_by_item)
                self._replaced = (
                    *(ReplacedMethod(module.Pool, name, one) for name in _ONE_JOB),
                    *(ReplacedMethod(module.Pool, name, several) for name in _JOB_PER_ITEM),
                )
            for method in self._replaced:
                method.install()

    def _around(self, kind: type, bound: Callable[..., tuple[Any, ...]]) -> Around:
        def around(replaced: ReplacedMethod, original: Callable[..., Any]) -> object:
            @functools.wraps(original)
            def hand_in(pool: Any, func: Callable[..., Any], *args: Any, **options: Any) -> Any:
                if not (replaced.on and isinstance(pool, kind)):  # processes have threads of their own
                    return original(pool, func, *args, **options)
                for name in _CALLBACKS:
                    if options.get(name) is not None:
                        options[name] = self._bind(options[name])
                return original(pool, *bound(self._bind, original.__name__, func, *args), **options)

            return hand_in

        return around


def _bound(bind: Bind, _: str, func: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
    return bind(func), *args


def _bound_by_item(
    bind: Bind, name: str, func: Callable[..., Any], items: Iterable[Any], *args: Any
) -> tuple[Any, ...]:
    """Every item brings its own binding: they are jobs side by side."""
    return (_call_starred if name.startswith("star") else _call), [(bind(func), item) for item in items], *args


def _call(pair: tuple[Callable[..., Any], Any]) -> Any:
    job, item = pair
    return job(item)


def _call_starred(job: Callable[..., Any], items: Iterable[Any]) -> Any:
    return job(*items)
