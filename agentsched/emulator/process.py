"""An embedded pool as a process of its own: run here until told to stop, or started as a child and stopped later."""

from __future__ import annotations

import asyncio
import json
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from agentsched.emulator.config import EmulatorConfig, load_config
from agentsched.emulator.control import Control
from agentsched.emulator.defaults import default_config
from agentsched.emulator.pool import Emulator
from agentsched.emulator.precise import precedence, run_precisely
from agentsched.errors import AgentschedError, ConfigError

__all__ = ["PoolProcess", "run_pool", "start_pool"]


def run_pool(
    config: EmulatorConfig | str | Path | None = None,
    *,
    on_ready: Callable[[Emulator], None] | None = None,
    until_closed: IO[bytes] | None = None,
) -> None:
    """Serve a pool in this thread until SIGINT or SIGTERM.

    Args:
        config: the pool, or the path of its YAML file; None serves the default pool.
        on_ready: called once all ports are open; may print the pool's URLs.
        until_closed: also stop when this stream ends (a parent that dies closes the pipe it holds).

    Raises:
        ConfigError: the configuration does not fit, or a port is taken.
    """
    if config is None:
        config = default_config()
    elif not isinstance(config, EmulatorConfig):
        config = load_config(config)
    with precedence():
        run_precisely(_serve(config, on_ready, until_closed))


async def _serve(
    config: EmulatorConfig, on_ready: Callable[[Emulator], None] | None, until_closed: IO[bytes] | None
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if until_closed is not None:
        await loop.connect_read_pipe(lambda: _UntilClosed(stop), until_closed)
    async with Emulator(config) as pool:
        if on_ready is not None:
            on_ready(pool)
        await stop.wait()


class _UntilClosed(asyncio.Protocol):
    """Sets an event when the other end of a pipe is gone."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def eof_received(self) -> None:
        self._stop.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop.set()


class PoolProcess:
    """A pool in a child process; a context manager that stops it.

    Attributes:
        urls: each endpoint's base URL, by name.
        control_url: the control server's URL.
        control: steers the pool through it.
        pool_config: a matching ``pool.yaml`` as a dict.
    """

    def __init__(self, process: subprocess.Popen[bytes], ready: dict[str, Any]) -> None:
        self._process = process
        self.urls: dict[str, str] = ready["urls"]
        self.control_url: str = ready["control_url"]
        self.control = Control(self.control_url)
        self.pool_config: dict[str, Any] = ready["pool_config"]

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def url(self, name: str) -> str:
        """Return an endpoint's base URL.

        Raises:
            ConfigError: there is no such endpoint.
        """
        if name not in self.urls:
            raise ConfigError("no such endpoint", field="name", given=name, allowed=", ".join(self.urls))
        return self.urls[name]

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._process.poll() is None

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop the child and wait for it; a child that does not go in time is killed."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> PoolProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_pool(config: EmulatorConfig | None = None, *, ready_within_s: float = 20.0) -> PoolProcess:
    """Start a pool in a child process and return once all its ports are open.

    The child ends when it is stopped, and also when this process dies: it watches a pipe that only this process holds.

    Args:
        config: the pool; None starts the default pool.
        ready_within_s: how long its start may take.

    Raises:
        ConfigError: the child could not start; carries its own words.
    """
    config = config or default_config()
    command = [sys.executable, "-m", "agentsched.emulator.process"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        ready = _handshake(process, config, ready_within_s)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return PoolProcess(process, ready)


def _handshake(process: subprocess.Popen[bytes], config: EmulatorConfig, within_s: float) -> dict[str, Any]:
    """Send the configuration and wait for the line that says where everything listens."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(config.model_dump_json().encode() + b"\n")
    process.stdin.flush()
    readable, _, _ = select.select((process.stdout,), (), (), within_s)
    line = process.stdout.readline() if readable else b""
    if not line:
        state = f"ended with status {process.wait()}" if readable else f"did not start within {within_s:g} s"
        raise ConfigError(f"the pool process {state}")
    ready: dict[str, Any] = json.loads(line)
    if "error" in ready:
        raise ConfigError(ready["error"])
    return ready


def _child() -> int:
    """Serve the pool that the parent describes on standard input; say on standard output where."""

    def tell(message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    def ready(pool: Emulator) -> None:
        urls = {name: pool.url(name) for name in pool.names}
        tell({"urls": urls, "control_url": pool.control_url, "pool_config": pool.pool_config()})

    try:
        config = EmulatorConfig.model_validate_json(sys.stdin.buffer.readline())
        run_pool(config, on_ready=ready, until_closed=sys.stdin.buffer)
    except (AgentschedError, ValueError) as error:
        tell({"error": str(error)})
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_child())
