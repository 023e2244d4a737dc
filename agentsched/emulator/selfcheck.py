"""Is the emulator on time? Drives many streams from this process against a pool in another and prints how late it was.

    python -m agentsched.emulator.selfcheck --endpoints 4 --streams 200 --tpot-ms 30 --seconds 10

What is counted is the distance between the instant a chunk's write to the socket returned and the instant the engine
had it due, early or late, taken by the server itself. The endpoints are unequal, each a tenth slower than the one
before. Ends with status 1 if the 95th percentile exceeds 5 % of the fastest endpoint's time per token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from agentsched import clock
from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig
from agentsched.emulator.precise import run_precisely
from agentsched.emulator.process import PoolProcess, start_pool
from agentsched.engine.profile import HardwareProfile

__all__ = ["PacingReport", "check_pacing", "main"]

ALLOWED_SHARE = 0.05
"""How late the 95th percentile of the chunks may be, as a share of the time per token."""

_SHORTEST_TOKENS, _SPREAD_TOKENS = 90, 61  # lengths differ, so that streams do not end all at once
_UNEQUAL = 1.1


@dataclass(frozen=True, slots=True)
class PacingReport:
    """What a check found.

    Attributes:
        streams: concurrent streams.
        tpot_s: time per token of the fastest endpoint with that many streams, as the profile has it.
        pacing: the server's figures (see `PacingHistogram.summary`).
        chunks_received: chunks that the clients counted.
        client_cpu_share: CPU used by this process, as a share of one core.
    """

    streams: int
    tpot_s: float
    pacing: dict[str, Any]
    chunks_received: int
    client_cpu_share: float

    @property
    def p95_share(self) -> float:
        """The 95th percentile of the lateness as a share of the time per token."""
        return float(self.pacing["p95_s"]) / self.tpot_s

    @property
    def on_time(self) -> bool:
        """Whether the emulator may be believed."""
        return self.p95_share < ALLOWED_SHARE

    def text(self) -> str:
        """Return the report for people."""
        ms = {name: 1000 * float(self.pacing[f"{name}_s"]) for name in ("mean", "p50", "p95", "p99", "worst")}
        figures = "  ".join(f"{name} {value:.3f} ms" for name, value in ms.items())
        verdict = "on time" if self.on_time else "LATE"
        return (
            f"{self.streams} streams at {1000 * self.tpot_s:.1f} ms or more per token, "
            f"{self.pacing['chunks']} chunks written, {self.chunks_received} received\n"
            f"distance from due: {figures}  early: {100 * float(self.pacing['early_share']):.0f} %\n"
            f"p95 is {100 * self.p95_share:.1f} % of a token's time, allowed {100 * ALLOWED_SHARE:.0f} %: {verdict}\n"
            f"the load generator used {100 * self.client_cpu_share:.0f} % of a core\n"
        )


def check_pacing(
    *, endpoints: int = 4, streams: int = 200, tpot_s: float = 0.030, seconds: float = 10.0, warm_up_s: float = 2.0
) -> PacingReport:
    """Start a pool in another process, keep ``streams`` streams running on it and report the lateness of its chunks.

    Args:
        endpoints: endpoints of the pool.
        streams: concurrent streams, spread evenly.
        tpot_s: time per token of the fastest endpoint with all of them running.
        seconds: how long to measure.
        warm_up_s: how long to stream before.
    """
    batch = max(1, streams // endpoints)
    config = EmulatorConfig(
        endpoints=tuple(
            EmulatedEndpoint(name=f"e{index}", profile=_profile(tpot_s * _UNEQUAL**index, batch), model="m", seed=index)
            for index in range(endpoints)
        )
    )
    with start_pool(config) as pool:
        return run_precisely(_measure(pool, streams, tpot_s, seconds, warm_up_s))


def _profile(tpot_s: float, batch: int) -> HardwareProfile:
    per_sequence_s = 0.2 * tpot_s / batch
    return HardwareProfile(
        name="selfcheck",
        step_base_s=0.8 * tpot_s,
        step_per_sequence_s=per_sequence_s,
        step_per_kv_token_s=0.0,
        prefill_tokens_per_s=10_000,
        max_slots=2 * batch,
        kv_tokens=1_000_000,
    )


class _Client(asyncio.Protocol):
    """One connection that asks for a stream again and again and only counts what comes."""

    def __init__(self, host: str, number: int) -> None:
        prompt = f"stream {number} [[out={_SHORTEST_TOKENS + number % _SPREAD_TOKENS}]]"
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt}]}
        data = json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        self._ask = head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data
        self._transport: asyncio.Transport | None = None
        self.chunks = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._ask)

    def data_received(self, data: bytes) -> None:
        self.chunks += data.count(b'"delta":{"content":"') - data.count(b'"role"')
        if data.endswith(b"0\r\n\r\n") and self._transport is not None:
            self._transport.write(self._ask)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def _measure(pool: PoolProcess, streams: int, tpot_s: float, seconds: float, warm_up_s: float) -> PacingReport:
    loop = asyncio.get_running_loop()
    urls = list(pool.urls.values())
    clients = [_Client("pool", number) for number in range(streams)]
    for number, client in enumerate(clients):
        place = urlsplit(urls[number % len(urls)])
        await loop.create_connection(partial(_same, client), place.hostname or "", place.port or 80)
    await asyncio.sleep(warm_up_s)
    await asyncio.to_thread(pool.control.clear_pacing)
    received = sum(client.chunks for client in clients)
    started, cpu = clock.monotonic(), clock.cpu()
    await asyncio.sleep(seconds)
    share = (clock.cpu() - cpu) / (clock.monotonic() - started)
    received = sum(client.chunks for client in clients) - received
    figures = await asyncio.to_thread(pool.control.pacing)
    for client in clients:
        client.close()
    return PacingReport(streams, tpot_s, figures["all"], received, share)


def _same(client: _Client) -> _Client:
    return client


def main(arguments: list[str] | None = None) -> int:
    """Run the check from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m agentsched.emulator.selfcheck", description=__doc__.split("\n")[0])
    parser.add_argument("--endpoints", type=int, default=4)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--tpot-ms", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args(arguments)
    report = check_pacing(
        endpoints=options.endpoints,
        streams=options.streams,
        tpot_s=options.tpot_ms / 1000,
        seconds=options.seconds,
    )
    sys.stdout.write(report.text())
    return 0 if report.on_time else 1


if __name__ == "__main__":
    sys.exit(main())
