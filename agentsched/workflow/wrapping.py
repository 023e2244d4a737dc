"""Put a scope around a function, or around a block of code."""

import functools
import inspect
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import ParamSpec, TypeVar, cast

from agentsched.workflow.cutoff import Cutoff
from agentsched.workflow.drivers import BodyLifetime, Lifetime, async_generator_driver, drive_coroutine, drive_generator
from agentsched.workflow.scope import Run, current_run

__all__ = ["Block", "wrap_function"]

P = ParamSpec("P")
R = TypeVar("R")


def wrap_function(fn: Callable[P, R], start: Callable[P, BodyLifetime]) -> Callable[P, R]:
    """The function ``fn``, each call of it inside a scope of its own; of the same kind, name and signature.

    Args:
        fn: a function, coroutine function, generator function or async generator function.
        start: opens the scope of one call, and gets what that gets: when the body starts, not when its coroutine or
            generator is made.
    """
    wrapped: Callable[..., object]
    if inspect.isasyncgenfunction(fn):
        wrapped = async_generator_driver(fn, start)
    elif inspect.iscoroutinefunction(fn):
        wrapped = _around_coroutine(fn, start)
    elif inspect.isgeneratorfunction(fn):
        wrapped = _around_generator(fn, start)
    else:
        wrapped = _around_call(fn, start)
    return cast(Callable[P, R], functools.wraps(fn)(wrapped))


def _around_call(fn: Callable[P, R], start: Callable[P, BodyLifetime]) -> Callable[P, R]:
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        life = start(*args, **kwargs)
        life.resume()
        try:
            value = fn(*args, **kwargs)
        except BaseException as error:
            life.suspend()
            instead = life.fail(error)
            if instead is not None:
                return cast(R, instead[0])
            raise
        life.suspend()
        return life.keep(value)

    return wrapper


def _around_coroutine(
    fn: Callable[P, Coroutine[object, object, R]], start: Callable[P, BodyLifetime]
) -> Callable[P, Coroutine[object, object, R]]:
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        body = fn(*args, **kwargs)
        try:
            life = start(*args, **kwargs)
        except BaseException:
            body.close()
            raise
        return await drive_coroutine(life, body)

    return wrapper


def _around_generator(
    fn: Callable[P, Generator[object, object, R]], start: Callable[P, BodyLifetime]
) -> Callable[P, Generator[object, object, R]]:
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Generator[object, object, R]:
        body = fn(*args, **kwargs)
        return (yield from drive_generator(start(*args, **kwargs), body))

    return wrapper


class Block:
    """A block of code inside a scope: ``with`` for any code, ``async with`` to have it cancelled at the scope's end.

    Under ``with``, code stops at its next model call or ``agentsched.check()``.
    """

    __slots__ = ("_cutoff", "_life", "_start")

    def __init__(self, start: Callable[[], Lifetime | None]) -> None:
        """Prepare it; ``start`` opens the scope on entry and may answer that there is none to open."""
        self._start = start
        self._life: Lifetime | None = None
        self._cutoff: Cutoff

    def __enter__(self) -> Run | None:
        self._life = self._start()
        if self._life is not None:
            self._life.resume()
        return current_run()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(error, cut=False)

    async def __aenter__(self) -> Run | None:
        run = self.__enter__()
        if self._life is not None:
            self._cutoff = self._life.cutoff()
        return run

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(error, cut=self._life is not None and self._cutoff.disarm(error))

    def _leave(self, error: BaseException | None, *, cut: bool) -> None:
        life, self._life = self._life, None
        if life is None:
            return
        life.suspend()
        if error is None:
            life.done()
        else:
            life.fail(error, cut=cut)
