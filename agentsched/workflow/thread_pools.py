"""Jobs of ``multiprocessing``'s pools of threads: each belongs to the run that hands it in, whoever made the pool.

They are looked for when somebody imports them: most programs never do.
"""

import functools
import inspect
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
                around = self._around(module.ThreadPool)
                self._replaced = tuple(
                    ReplacedMethod(module.Pool, name, around) for name in (*_ONE_JOB, *_JOB_PER_ITEM)
                )
            for method in self._replaced:
                method.install()

    def _around(self, kind: type) -> Around:
        def around(replaced: ReplacedMethod, original: Callable[..., Any]) -> object:
            signature = inspect.signature(original)

            @functools.wraps(original)
            def hand_in(pool: Any, *args: Any, **options: Any) -> Any:
                if not (replaced.on and isinstance(pool, kind)):  # processes have threads of their own
                    return original(pool, *args, **options)
                given = signature.bind(pool, *args, **options)
                self._bind_all(original.__name__, given.arguments)
                return original(*given.args, **given.kwargs)

            return hand_in

        return around

    def _bind_all(self, method: str, given: dict[str, Any]) -> None:
        """Bind what is handed in; of a job per item every item is bound by itself: they are branches side by side."""
        for name in _CALLBACKS:
            if given.get(name) is not None:
                given[name] = self._bind(given[name])
        func = given["func"]
        if method in _JOB_PER_ITEM:
            given["iterable"] = [(self._bind(func), item) for item in given["iterable"]]
            given["func"] = _call_starred if method.startswith("star") else _call
        else:
            given["func"] = self._bind(func)


def _call(pair: tuple[Callable[..., Any], Any]) -> Any:
    job, item = pair
    return job(item)


def _call_starred(job: Callable[..., Any], items: Iterable[Any]) -> Any:
    return job(*items)
