"""Run each kind of body inside a scope that is in force only while the body runs.

A generator's consumer, between two items, is outside the scope; a coroutine's caller is inside it until it has ended.
"""

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import ParamSpec, Protocol, TypeVar, cast

from agentsched.workflow.cutoff import Cutoff

__all__ = ["BodyLifetime", "Lifetime", "async_generator_driver", "drive_coroutine", "drive_generator"]

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
Sent = TypeVar("Sent")


class Lifetime(Protocol):
    """A scope that a body of code runs in: entered, perhaps left and entered again, and ended once."""

    def resume(self) -> None:
        """The body is about to run."""

    def suspend(self) -> None:
        """The body has stopped running, for good or for a while."""

    def cutoff(self) -> Cutoff:
        """Arm the cancellation of the current task at the scope's end."""

    def done(self) -> None:
        """The body has returned a value that is of no interest."""

    def fail(self, error: BaseException, *, cut: bool = False, yielded: bool = False) -> tuple[object] | None:
        """The body has raised ``error``.

        Args:
            error: what it raised.
            cut: whether that is the cancellation by `cutoff`.
            yielded: whether the body has handed out a part of its result already.

        Returns:
            What the body is to return instead, in a tuple; None: ``error`` is to be raised.

        Raises:
            DeadlineExceeded: it replaces ``error``, which the scope's end has caused.
        """


class BodyLifetime(Lifetime, Protocol):
    """A scope around a function body, whose result may hold work that is still to be done."""

    def keep(self, value: T) -> T:
        """The body has returned ``value``: hand it out, and live on in it while its work is not done yet."""


async def drive_coroutine(life: BodyLifetime, body: Coroutine[object, object, T]) -> T:
    """Await a coroutine inside a scope, and cancel it at the scope's end."""
    life.resume()
    cutoff = life.cutoff()
    try:
        value = await body
    except BaseException as error:
        cut = cutoff.disarm(error)
        life.suspend()
        instead = life.fail(error, cut=cut)
        if instead is not None:
            return cast(T, instead[0])
        raise
    cutoff.disarm(None)
    life.suspend()
    return life.keep(value)


def drive_generator(life: BodyLifetime, body: Generator[Item, Sent, T]) -> Generator[Item, Sent, T]:
    """Iterate over a generator whose code, but not whose consumer, is inside a scope."""
    move: Callable[[], Item] = body.__next__
    yielded = False
    while True:
        life.resume()
        try:
            item = move()
        except StopIteration as stop:
            life.suspend()
            value: T = stop.value
            return life.keep(value)
        except BaseException as error:
            life.suspend()
            instead = life.fail(error, yielded=yielded)
            if instead is not None:
                return cast(T, instead[0])
            raise
        life.suspend()
        yielded = True
        try:
            move = partial(body.send, (yield item))
        except GeneratorExit as closing:
            _close(life, body)
            life.fail(closing)
            raise
        except BaseException as error:  # noqa: BLE001 what the consumer throws into a generator is for its body
            move = partial(body.throw, error)


def _close(life: Lifetime, body: Generator[Item, Sent, T]) -> None:
    life.resume()
    try:
        body.close()
    except BaseException as error:
        life.suspend()
        life.fail(error)
        raise
    life.suspend()


def async_generator_driver(
    make: Callable[P, AsyncGenerator[Item, Sent]], start: Callable[P, Lifetime]
) -> Callable[P, AsyncGenerator[Item, Sent]]:
    """The async generator function that iterates over what ``make`` returns, inside the scope that ``start`` opens.

    Both get what that function gets.

    Each step of the body is cancelled at the scope's end; the consumer, between two items, is not.
    """

    async def driver(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Item, Sent]:
        body = make(*args, **kwargs)
        life = start(*args, **kwargs)
        move: Callable[[], Awaitable[Item]] = partial(_first_step, body)
        yielded = False
        while True:
            try:
                item = await _step(life, move, yielded)
            except StopAsyncIteration:
                life.done()  # does nothing for a run that has ended in part
                return
            yielded = True
            try:
                move = partial(body.asend, (yield item))
            except GeneratorExit as closing:
                await _aclose(life, body)
                life.fail(closing)
                raise
            except BaseException as error:  # noqa: BLE001 what the consumer throws into a generator is for its body
                move = partial(body.athrow, error)

    return driver


def _first_step(body: AsyncGenerator[Item, Sent]) -> Awaitable[Item]:
    """Start the body without telling the event loop of it: the driver, which the loop knows, will close it.

    A loop that shuts down closes all generators it knows at the same time; the body would be closed twice.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return body.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)


async def _step(life: Lifetime, move: Callable[[], Awaitable[Item]], yielded: bool) -> Item:
    life.resume()
    cutoff = life.cutoff()
    try:
        item = await move()
    except StopAsyncIteration:
        cutoff.disarm(None)
        life.suspend()
        raise
    except BaseException as error:
        cut = cutoff.disarm(error)
        life.suspend()
        if life.fail(error, cut=cut, yielded=yielded) is not None:
            raise StopAsyncIteration from None
        raise
    cutoff.disarm(None)
    life.suspend()
    return item


async def _aclose(life: Lifetime, body: AsyncGenerator[Item, Sent]) -> None:
    life.resume()
    try:
        await body.aclose()
    except BaseException as error:
        life.suspend()
        life.fail(error)
        raise
    life.suspend()
