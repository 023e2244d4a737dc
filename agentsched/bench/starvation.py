"""Whether this process got the cores it asked for: figures about time mean little where it did not."""

from pathlib import Path

__all__ = ["longest_wait_s", "waits_for_cores_s"]

_TASKS = Path("/proc/self/task")


def waits_for_cores_s() -> dict[str, float]:
    """Seconds that each thread of this process was ready to run but had no core, since it began.

    From the second figure of Linux's ``schedstat`` (Documentation/scheduler/sched-stats.rst); empty elsewhere.
    """
    found = {}
    for task in _TASKS.iterdir() if _TASKS.is_dir() else ():
        try:
            found[task.name] = int((task / "schedstat").read_text(encoding="ascii").split()[1]) * 1e-9
        except (OSError, IndexError, ValueError):
            continue  # the thread has ended, or the kernel keeps no account
    return found


def longest_wait_s(before: dict[str, float], after: dict[str, float]) -> float:
    """The longest that one thread waited for a core between two looks, seconds."""
    return max((waited - before.get(task, 0.0) for task, waited in after.items()), default=0.0)
