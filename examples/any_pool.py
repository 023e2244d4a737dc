"""The pool that these examples use: the one that AGENTSCHED_CONFIG names, else an embedded one of emulated servers.

agentsched pool up --write-pool pool.yaml        # or a pool.yaml of yours, or that of examples/llama_cpp
AGENTSCHED_CONFIG=pool.yaml python examples/01_plain_sdk.py
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

import agentsched
from agentsched.emulator.process import start_pool


class AnyPool(NamedTuple):
    """What an ordinary program knows: some server, and the model it serves."""

    base_url: str
    model: str


@contextmanager
def any_pool(log: Path | None = None) -> Iterator[AnyPool]:
    """Use the configured pool, or an embedded one for the length of the block.

    Args:
        log: where an embedded pool's decisions are logged; None: nowhere.
    """
    with ExitStack() as stack:
        config = os.environ.get("AGENTSCHED_CONFIG") or _embedded(stack, log)
        os.environ["AGENTSCHED_CONFIG"] = config  # for the processes that an example starts
        runtime = agentsched.configure(config)
        stack.callback(runtime.close)  # writes what is still to be logged
        first = runtime.settings.pool.endpoints[0]
        yield AnyPool(first.base_url, first.model)


def _embedded(stack: ExitStack, log: Path | None) -> str:
    pool = stack.enter_context(start_pool())
    config = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "pool.yaml"
    settings = {**pool.pool_config, "log": {"path": str(log.resolve())}} if log else pool.pool_config
    config.write_text(yaml.safe_dump(settings))
    stack.callback(os.environ.pop, "AGENTSCHED_CONFIG")
    return str(config)
