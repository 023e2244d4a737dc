"""Steering a pool that runs in another process, through its control server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from agentsched.emulator.faults import Fault
from agentsched.errors import ConfigError

__all__ = ["Control"]


class Control:
    """Sets and clears faults, slowdowns and outages, and reads load and pacing. Blocking calls.

    Args:
        url: the control server's URL.
        timeout_s: how long one call may take.

    Every method raises ConfigError when the pool refuses or cannot be reached.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._url = url
        self._timeout_s = timeout_s

    def inject(self, name: str, fault: Fault) -> None:
        """Set a fault on an endpoint from now on."""
        self._call("POST", f"/{name}/_emulator/faults", fault.model_dump())

    def clear(self, name: str) -> None:
        """Take all faults of an endpoint away and open its port again."""
        self._call("POST", f"/_emulator/clear/{name}")

    def slow_down(self, name: str, factor: float, duration_s: float) -> None:
        """Make an endpoint's engine ``factor`` times slower for so many seconds."""
        self._call("POST", f"/{name}/_emulator/slowdown", {"factor": factor, "duration_s": duration_s})

    def fail(self, name: str, duration_s: float) -> None:
        """Let an endpoint's engine lose every request now and take none for so many seconds."""
        self._call("POST", f"/{name}/_emulator/outage", {"duration_s": duration_s})

    def load(self, name: str) -> dict[str, int]:
        """Return what an endpoint's engine holds now (the fields of `agentsched.engine.Load`), and since its start the
        requests it ``received`` and those it answered completely (``successes``)."""
        return self._call("GET", f"/{name}/_emulator/load")

    def pacing(self) -> dict[str, Any]:
        """Return how late chunks were written: ``{"all": figures, <endpoint>: figures, ...}`` in seconds."""
        return self._call("GET", "/_emulator/pacing")

    def clear_pacing(self) -> None:
        """Begin to count lateness anew."""
        self._call("DELETE", "/_emulator/pacing")

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(self._url + path, data=data, method=method), timeout=self._timeout_s) as response:
                answer: dict[str, Any] = json.load(response)
        except HTTPError as error:
            said = error.read().decode(errors="replace")[:200]
            raise ConfigError(f"the pool answered {error.code}: {said}", field=path) from None
        except (URLError, OSError) as error:
            raise ConfigError(f"the pool's control server cannot be reached: {error}", field=path) from None
        return answer
