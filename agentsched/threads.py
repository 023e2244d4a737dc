"""Threads of agentsched's own: they belong to no run, and keep no process alive."""

import contextvars
import sys
import threading

__all__ = ["start_apart"]


def start_apart(thread: threading.Thread) -> None:
    """Start a thread outside every context, and so outside every run.

    Raises:
        RuntimeError: none can be started: the process is ending, or at its limit. Python before 3.12 says so only of
            the limit; in an interpreter that ends, where no other thread runs any more, it waits for the new one's
            first step for ever. A generator that is closed only then still ends its run.
    """
    if sys.is_finalizing():
        raise RuntimeError("no thread can be started while the interpreter ends")
    contextvars.Context().run(thread.start)
