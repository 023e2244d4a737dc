"""What must be renewed in a forked child: locks, threads and connections do not survive a fork."""

import os
from collections.abc import Callable

__all__ = ["around_forks", "in_forked_child"]


def in_forked_child(renew: Callable[[], None]) -> None:
    """Have ``renew`` called in every child that this process forks; nothing to do on platforms without fork."""
    around_forks(lambda: None, lambda: None, renew)


def around_forks(before: Callable[[], object], in_parent: Callable[[], object], in_child: Callable[[], object]) -> None:
    """Have these called before this process forks, and afterwards in the parent and in the child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)
