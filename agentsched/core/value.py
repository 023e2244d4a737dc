"""Dataclasses that are made so often that it counts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

__all__ = ["value"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(*, eq: bool = True) -> Callable[[type[T]], type[T]]:
    """A dataclass with slots whose instances nobody writes to.

    Type checkers hold that as for a frozen one; at run time nothing does, because a frozen dataclass sets its fields
    one by one through ``object.__setattr__``, which takes three times as long.

    Args:
        eq: whether instances with equal fields are equal; otherwise each is equal to itself alone.
    """
    return dataclass(slots=True, eq=eq, unsafe_hash=eq)
