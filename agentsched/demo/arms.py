"""Running one arm: a fresh pool and a fresh load generator, each a process of its own, and the counts of both."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from agentsched.demo.plan import Arm, Plan
from agentsched.demo.pool import PROFILES, demo_pool
from agentsched.demo.results import ArmResult, ClientReport, Ended, EndpointCount, Pacing
from agentsched.emulator.control import Control
from agentsched.emulator.process import PoolProcess, start_pool
from agentsched.emulator.selfcheck import ALLOWED_SHARE
from agentsched.errors import AgentschedError
from agentsched.settings.dump import yaml_text

__all__ = ["LOG_FILE", "POOL_FILE", "run_arm"]

POOL_FILE, LOG_FILE = "pool.yaml", "decisions.jsonl"

_START_S = 60.0
"""How long the load generator may take to import LangGraph and to warm up, seconds; then something is wrong."""
_GRACE_S = 20.0

_ENDED: TypeAdapter[Ended] = TypeAdapter(Ended)
_REPORT: TypeAdapter[ClientReport] = TypeAdapter(ClientReport)


def run_arm(
    plan: Plan, arm: Arm, directory: Path, on_ended: Callable[[Ended], None], *, time_scale: float = 1.0
) -> ArmResult:
    """Run one arm to its end.

    Args:
        plan: the comparison.
        arm: which arm.
        directory: where the ``pool.yaml`` and the decision log of the decorated arm go.
        on_ended: called whenever a workflow has ended.
        time_scale: how many times faster than real time the endpoints run; figures are worth something at 1 only.

    Raises:
        AgentschedError: a process could not be started or failed; carries its last words.
    """
    with start_pool(demo_pool(time_scale=time_scale)) as pool:
        configuration = {**pool.pool_config, "log": {"path": LOG_FILE}}
        (directory / POOL_FILE).write_text(yaml_text(configuration), encoding="utf-8")
        return asyncio.run(_Arm(plan, arm, directory, pool, on_ended).run())


class _Arm:
    """One arm while it runs."""

    def __init__(
        self, plan: Plan, arm: Arm, directory: Path, pool: PoolProcess, on_ended: Callable[[Ended], None]
    ) -> None:
        self._plan, self._arm, self._directory, self._pool = plan, arm, directory, pool
        self._on_ended = on_ended
        self._control = Control(pool.control_url)

    async def run(self) -> ArmResult:
        said = self._directory / f"{self._arm.replace(' ', '-')}.stderr"
        with said.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agentsched.demo.client"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=_environment(),
            )
            try:
                result = await self._follow(process)
            except (EOFError, TimeoutError) as error:
                reason = "took too long" if isinstance(error, TimeoutError) else "ended early"
                tail = "\n".join(said.read_text(errors="replace").splitlines()[-12:])
                raise AgentschedError(f"the load generator of the arm {self._arm!r} {reason}:\n{tail}") from None
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()
        said.unlink()
        return result

    async def _follow(self, process: asyncio.subprocess.Process) -> ArmResult:
        assert process.stdin is not None
        order = {
            "plan": asdict(self._plan),
            "arm": self._arm,
            "urls": self._pool.urls,
            "pool_file": str(self._directory / POOL_FILE),
        }
        process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(_START_S):
            await self._line(process)
        await asyncio.to_thread(self._control.clear_pacing)
        before = await asyncio.to_thread(self._counts)
        process.stdin.write(b"go\n")
        ended: list[Ended] = []
        async with asyncio.timeout(2 * self._plan.longest_s + _GRACE_S):
            while "case" in (message := await self._line(process)):
                ended.append(_ENDED.validate_python(message))
                self._on_ended(ended[-1])
        after = await asyncio.to_thread(self._counts)
        pacing = await asyncio.to_thread(self._pacing)
        await process.wait()
        return ArmResult(
            arm=self._arm,
            deadline_s=self._plan.deadline_s,
            ended=tuple(ended),
            client=_REPORT.validate_python(message),
            endpoints={name: _difference(before[name], after[name], name) for name in after},
            pacing=pacing,
        )

    async def _line(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise EOFError
        message: dict[str, Any] = json.loads(line)
        return message

    def _counts(self) -> dict[str, dict[str, int]]:
        return {name: self._control.load(name) for name in self._pool.urls}

    def _pacing(self) -> Pacing:
        figures = self._control.pacing()["all"]
        fastest = min(profile.step_base_s for profile in PROFILES.values())
        return Pacing(int(figures["chunks"]), float(figures["p95_s"]), ALLOWED_SHARE * fastest)


def _difference(before: Mapping[str, int], after: Mapping[str, int], name: str) -> EndpointCount:
    requests, read, written = (after[key] - before[key] for key in ("received", "prompt_tokens", "output_tokens"))
    price = next(endpoint.price for endpoint in demo_pool().endpoints if endpoint.name == name)
    return EndpointCount(requests, read, written, (read * price.input + written * price.output) * 1e-6)


def _environment() -> dict[str, str]:
    """The child's environment: nothing in it may send the loopback traffic, or traces of it, elsewhere."""
    ours = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "LANGSMITH_TRACING": "false"}
    dropped = ("AGENTSCHED_", "OPENAI_", "LANGCHAIN_", "LANGSMITH_")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)} | ours
