"""Fits the length forecasters with torch: pinball loss on tokens, cut answers as lower bounds, bounded time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agentsched import clock
from agentsched.core.forecast import LEVELS, QUANTILES
from agentsched.errors import ConfigError
from agentsched.forecast.features import WORD_BUCKETS
from agentsched.forecast.network_inputs import INPUTS
from agentsched.forecast.quantile_net import ExpertMixture, QuantileNet
from agentsched.training.examples import Examples

__all__ = ["FEWEST", "Fit", "fit_experts", "fit_network"]

Array = NDArray[np.float64]

FEWEST = 100
"""With fewer examples than this nothing is fitted."""

_HIDDEN = 48
_EXPERTS = 4
_BATCH = 128
_EPOCHS = 40
_PATIENCE = 6
"""Passes without a better loss on the held-back examples before training ends."""

_RATE, _DECAY = 3e-3, 0.05
_DROPPED = 0.3
"""Share of the word inputs that each pass does without."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a training run went.

    Attributes:
        loss: mean pinball loss over all levels on the held-back examples, tokens; no more than at the start.
        passes: over the examples.
        seconds: it took.
    """

    loss: float
    passes: int
    seconds: float


class _Monotone(nn.Module):
    """Base and increments become quantiles on the scale log(1 + tokens)."""

    def forward(self, out: Tensor) -> Tensor:
        head = torch.cat((out[..., :1], nn.functional.softplus(out[..., 1:])), dim=-1)
        return torch.cumsum(head, dim=-1)


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(INPUTS, _HIDDEN), nn.Linear(_HIDDEN, _HIDDEN)
        self.last, self.monotone = nn.Linear(_HIDDEN, QUANTILES), _Monotone()
        _begin_at_the_prior(self.last.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.second(torch.relu(self.first(inputs))))
        made: Tensor = self.monotone(self.last(hidden))
        return made

    def served(self) -> QuantileNet:
        layers = (self.first, self.second, self.last)
        return QuantileNet(*(part for layer in layers for part in (_array(layer.weight.T), _array(layer.bias))))

    def start_from(self, known: QuantileNet) -> None:
        for layer, weight, bias in (
            (self.first, known.first, known.first_bias),
            (self.second, known.second, known.second_bias),
            (self.last, known.last, known.last_bias),
        ):
            _copy(layer.weight, weight.T)
            _copy(layer.bias, bias)


class _Experts(nn.Module):
    def __init__(self, idf: Array) -> None:
        super().__init__()
        self._idf = torch.tensor(idf, dtype=torch.float32)
        self.gate, self.experts = nn.Linear(INPUTS, _EXPERTS), nn.Linear(INPUTS, _EXPERTS * QUANTILES)
        self.monotone = _Monotone()
        _begin_at_the_prior(self.experts.bias.view(_EXPERTS, QUANTILES))

    def forward(self, inputs: Tensor) -> Tensor:
        seen = inputs * self._idf
        gate = torch.softmax(self.gate(seen), dim=-1)
        out = self.monotone(self.experts(seen).view(-1, _EXPERTS, QUANTILES))
        made: Tensor = (gate[:, :, None] * out).sum(dim=1)
        return made

    def served(self) -> ExpertMixture:
        parts = (self.gate.weight.T, self.gate.bias, self.experts.weight.T, self.experts.bias)
        return ExpertMixture(_array(self._idf), *(_array(part) for part in parts))

    def start_from(self, known: ExpertMixture) -> None:
        self._idf = torch.tensor(known.idf, dtype=torch.float32)
        _copy(self.gate.weight, known.gate.T)
        _copy(self.gate.bias, known.gate_bias)
        _copy(self.experts.weight, known.experts.T)
        _copy(self.experts.bias, known.experts_bias)


def _begin_at_the_prior(bias: Tensor) -> None:
    """Quantiles about 150 tokens, a factor of 10 wide, before anything was learned."""
    with torch.no_grad():
        bias[..., 0] = 3.0
        bias[..., 1:] = -2.0


def _array(part: Tensor) -> Array:
    return np.ascontiguousarray(part.detach().numpy().astype(np.float64))


def _copy(part: Tensor, values: Array) -> None:
    with torch.no_grad():
        part.copy_(torch.tensor(values, dtype=part.dtype))


def fit_network(
    examples: Examples, *, seed: int = 0, budget_s: float = 60.0, start: QuantileNet | None = None
) -> tuple[QuantileNet, Fit]:
    """Train a `QuantileNet`.

    Args:
        examples: oldest first; the latest of them say when to stop.
        seed: of weights and order.
        budget_s: no pass begins later than this, seconds.
        start: weights to go on from (a warm start).

    Raises:
        ConfigError: there are fewer than `FEWEST` examples.
    """
    torch.manual_seed(seed)
    model = _Network()
    if start is not None:
        model.start_from(start)
    fit = _train(model, examples, seed, budget_s)
    return model.served(), fit


def fit_experts(
    examples: Examples, *, seed: int = 0, budget_s: float = 60.0, start: ExpertMixture | None = None
) -> tuple[ExpertMixture, Fit]:
    """Train an `ExpertMixture`; for the arguments see `fit_network`."""
    torch.manual_seed(seed)
    model = _Experts(_idf(examples))
    if start is not None:
        model.start_from(start)
    fit = _train(model, examples, seed, budget_s)
    return model.served(), fit


def _idf(examples: Examples) -> Array:
    """Inverse document frequencies of the words, smoothed and scaled to a mean of 1; 1 for the other inputs."""
    idf = np.ones(INPUTS)
    holding = (examples.inputs[:, -WORD_BUCKETS:] > 0.0).sum(axis=0)
    made = np.log((1.0 + examples.size) / (1.0 + holding)) + 1.0
    idf[-WORD_BUCKETS:] = made / made.mean()
    return idf


def _train(model: _Network | _Experts, examples: Examples, seed: int, budget_s: float) -> Fit:
    if examples.size < FEWEST:
        raise ConfigError("too few calls to train on", given=examples.size, allowed=f"{FEWEST} or more")
    rng = np.random.default_rng(seed)
    learned, held = examples.split()
    learned = learned.while_streaming(rng)
    unit = max(1.0, float(np.mean(learned.tokens)))
    loss_of = _loss(unit)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=_DECAY)
    began = clock.monotonic()
    best, kept, waited, passes = _judged(model, held, loss_of), _copy_of(model), 0, 0
    while passes < _EPOCHS and waited < _PATIENCE and clock.monotonic() - began < budget_s:
        _one_pass(model, learned, optimizer, loss_of, rng)
        passes += 1
        waited += 1
        loss = _judged(model, held, loss_of)
        if loss < best:
            best, kept, waited = loss, _copy_of(model), 0
    model.load_state_dict(kept)
    return Fit(best * unit, passes, clock.monotonic() - began)


def _judged(model: nn.Module, held: Examples, loss_of: Callable[[Tensor, Tensor, Tensor], Tensor]) -> float:
    with torch.no_grad():
        return float(loss_of(model(_tensor(held.inputs)), _tensor(held.tokens), torch.tensor(held.cut)))


def _copy_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: part.clone() for name, part in model.state_dict().items()}


def _one_pass(
    model: nn.Module,
    learned: Examples,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor, Tensor, Tensor], Tensor],
    rng: np.random.Generator,
) -> None:
    order = rng.permutation(learned.size)
    for begin in range(0, order.size, _BATCH):
        rows = order[begin : begin + _BATCH]
        inputs = learned.inputs[rows]
        inputs[:, -WORD_BUCKETS:] *= rng.uniform(size=(rows.size, WORD_BUCKETS)) >= _DROPPED
        loss = loss_of(model(_tensor(inputs)), _tensor(learned.tokens[rows]), torch.tensor(learned.cut[rows]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def _tensor(values: Array) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _loss(unit: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The pinball loss in units of tokens; a forecast beyond where an answer was cut off costs nothing."""
    levels = torch.tensor(LEVELS.copy(), dtype=torch.float32)

    def loss(made: Tensor, tokens: Tensor, cut: Tensor) -> Tensor:
        error = (tokens[:, None] - torch.expm1(made.clamp(max=12.0))) / unit
        low = torch.where(cut[:, None], torch.zeros_like(error), (levels - 1.0) * error)
        return torch.maximum(levels * error, low).mean()

    return loss
