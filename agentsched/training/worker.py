"""Trains in a process of its own: reads what to train on from stdin, writes the weights to stdout.

It takes the lowest priority and one core, and sets its own limits of CPU time and memory. Both ways numpy's npz:

    in    inputs, tokens, cut (`Examples`), kind (network or experts), budget_s, seed, start (weights to go on from, or
          nothing)
    out   weights, loss, loss_before (of ``start``; nan: there was none), seconds

Status 3: there are too few examples. Started by `agentsched.dispatch.training`.
"""

import os
import sys
from io import BytesIO

import numpy as np

if sys.platform != "win32":
    import resource
import torch

from agentsched.errors import ConfigError
from agentsched.forecast.quantile_net import ExpertMixture, QuantileNet
from agentsched.state.weights import packed_weights, unpacked_weights
from agentsched.training.examples import Examples
from agentsched.training.fitting import Fit, fit_experts, fit_network

__all__ = ["main", "trained"]

_STARTING_S = 60
"""CPU time beyond the budget: importing torch, the last pass, judging."""

_MOST_BYTES = 2 << 30
_TOO_FEW = 3


def trained(request: bytes) -> bytes:
    """The answer to one request.

    Raises:
        ConfigError: too few examples.
        ValueError: the weights to start from are none.
    """
    read = np.load(BytesIO(request), allow_pickle=False)
    examples = Examples(read["inputs"].astype(np.float64), read["tokens"], read["cut"])
    start = unpacked_weights(read["start"].tobytes()) if read["start"].size else None
    made, how = _fitted(str(read["kind"]), examples, int(read["seed"]), float(read["budget_s"]), start)
    _, judged = examples.split()
    answer = BytesIO()
    np.savez(
        answer,
        weights=np.frombuffer(packed_weights(made), dtype=np.uint8),
        loss=judged.loss(made),
        loss_before=np.nan if start is None else judged.loss(start),
        seconds=how.seconds,
    )
    return answer.getvalue()


def _fitted(
    kind: str, examples: Examples, seed: int, budget_s: float, start: QuantileNet | ExpertMixture | None
) -> tuple[QuantileNet | ExpertMixture, Fit]:
    """Weights of another kind are no start."""
    if kind == QuantileNet.kind:
        from_net = start if isinstance(start, QuantileNet) else None
        return fit_network(examples, seed=seed, budget_s=budget_s, start=from_net)
    from_experts = start if isinstance(start, ExpertMixture) else None
    return fit_experts(examples, seed=seed, budget_s=budget_s, start=from_experts)


def _bounded(budget_s: float) -> None:
    os.nice(19)
    torch.set_num_threads(1)
    if sys.platform != "win32":
        most_s = int(budget_s) + _STARTING_S
        resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s))
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))


def main() -> int:
    """Answer the request on stdin; the status of the process."""
    request = sys.stdin.buffer.read()
    _bounded(float(np.load(BytesIO(request), allow_pickle=False)["budget_s"]))
    try:
        answer = trained(request)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the parent reads it
        return _TOO_FEW
    sys.stdout.buffer.write(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
