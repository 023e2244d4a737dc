"""Whether a process got the cores it asked for: figures about time mean little where it did not."""

from pathlib import Path

__all__ = ["longest_wait_s", "waits_for_cores_s"]


def waits_for_cores_s(pid: int | None = None) -> dict[str, float]:
    """Seconds that each thread of a process (None: this one) was ready to run but had no core, since it began.

    From the second figure of Linux's ``schedstat`` (Documentation/scheduler/sched-stats.rst); empty elsewhere.
    """
    found = {}
    tasks = Path("/proc") / ("self" if pid is None else str(pid)) / "task"
    for task in tasks.iterdir() if tasks.is_dir() else ():
        try:
            found[task.name] = int((task / "schedstat").read_text(encoding="ascii").split()[1]) * 1e-9
        except (OSError, IndexError, ValueError):
            continue  # the thread has ended, or the kernel keeps no account
    return found


def longest_wait_s(before: dict[str, float], after: dict[str, float]) -> float:
    """The longest that one thread waited for a core between two looks, seconds."""
    return max((waited - before.get(task, 0.0) for task, waited in after.items()), default=0.0)
