"""A file of lines that several processes append to and that is renamed away when it has grown too large."""

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from itertools import islice
from stat import S_ISREG

from agentsched.errors import ConfigError

try:
    import fcntl

    _LOCKS = True
except ImportError:  # no such locks on this platform: one process per file then
    _LOCKS = False

__all__ = ["AppendFile"]

_CHUNK_BYTES = 1 << 20


class AppendFile:
    """Appends whole lines to ``path``; ``path.1`` is the file before it, ``path.2`` the one before that.

    Every write is made under a lock on the file itself, after a look whether ``path`` still is that file, so that
    processes can share it: none writes to a file that another has renamed away, and none rotates twice.

    Args:
        path: the file; its directory is made when missing.
        max_bytes: size beyond which it is rotated; 0: never. A single longer line gets a file of its own.
        backups: older files kept; 0: none, a file that has grown too large is deleted.

    Raises:
        ConfigError: a bound is not usable.
    """

    def __init__(self, path: str, *, max_bytes: int, backups: int) -> None:
        for name, value, low in (("max_bytes", max_bytes, 0), ("backups", backups, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ConfigError("not a bound", field=f"log.{name}", given=value, allowed=f"an integer from {low} on")
        self.path = os.path.abspath(path)
        self._max_bytes, self._backups = max_bytes, backups
        self._fd: int | None = None

    def append(self, lines: deque[bytes]) -> None:
        """Write the lines, removing from ``lines`` what is in the file.

        Raises:
            OSError: the file cannot be opened or written; what stays in ``lines`` is not in it.
        """
        while lines:
            with self._locked() as fd:
                size, regular = _size(fd)
                chunk = self._fitting(lines, size) if regular else _head(lines, _CHUNK_BYTES)
                if chunk:
                    self._write(fd, lines, chunk, torn=regular and _torn(fd, size))
                else:
                    self._rotate()

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _fitting(self, lines: deque[bytes], size: int) -> int:
        if not self._max_bytes:
            return _head(lines, _CHUNK_BYTES)
        return _head(lines, min(_CHUNK_BYTES, self._max_bytes - size)) or int(size == 0)

    def _write(self, fd: int, lines: deque[bytes], count: int, *, torn: bool) -> None:
        data = b"".join(islice(lines, count))
        written = os.write(fd, b"\n" + data if torn else data) - torn
        whole = 0
        while whole < count and written >= len(lines[0]):
            written -= len(lines.popleft())
            whole += 1
        if whole < count:
            raise OSError("only a part could be written")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        fd = self._current()
        try:
            yield fd
        except OSError:
            self.close()
            raise
        finally:
            if _LOCKS and self._fd == fd:
                with contextlib.suppress(OSError):
                    fcntl.flock(fd, fcntl.LOCK_UN)

    def _current(self) -> int:
        """Open ``path`` and lock it, until what was locked still is what stands at ``path``."""
        while True:
            if self._fd is None:
                self._fd = _open(self.path)
            if _LOCKS:
                with contextlib.suppress(OSError):  # a file system without locks: go on unlocked
                    fcntl.flock(self._fd, fcntl.LOCK_EX)
            if _same_file(self._fd, self.path):
                return self._fd
            self.close()

    def _rotate(self) -> None:
        for number in range(self._backups - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self.path}.{number}", f"{self.path}.{number + 1}")
        if not _LOCKS:
            self.close()  # such platforms rename no open file
        if self._backups:
            os.replace(self.path, f"{self.path}.1")
        else:
            os.remove(self.path)
        self.close()


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
    try:
        return os.open(path, flags, 0o640)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o640)


def _same_file(fd: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


def _size(fd: int) -> tuple[int, bool]:
    seen = os.fstat(fd)
    return seen.st_size, S_ISREG(seen.st_mode)


def _torn(fd: int, size: int) -> bool:
    """Whether the file ends inside a line: a process died, or the disk was full, while it wrote."""
    if size == 0:
        return False
    os.lseek(fd, -1, os.SEEK_END)
    return os.read(fd, 1) != b"\n"


def _head(lines: deque[bytes], room: int) -> int:
    """How many of the first lines fit into ``room`` bytes."""
    count = 0
    for line in lines:
        room -= len(line)
        if room < 0:
            break
        count += 1
    return count
