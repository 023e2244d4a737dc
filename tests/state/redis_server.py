"""A Redis server of the tests' own, on a free loopback port."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed


class RedisServer:
    """Can be killed and started again on its port; keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        if binary is None:
            pytest.skip("there is no redis-server on this machine")
        self._binary, self._folder = binary, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait_until_up()
        except OSError:
            self.kill()
            raise

    @retry(retry=retry_if_exception_type(OSError), wait=wait_fixed(0.01), stop=stop_after_delay(20), reraise=True)
    def _wait_until_up(self) -> None:
        socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
