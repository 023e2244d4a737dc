"""What the text of a prompt tells of the length of its answer: by hashed words, and by anybody's embeddings."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agentsched.errors import ConfigError
from agentsched.forecast.features import packed_features, word_rows
from agentsched.forecast.ridge import products, ridge_weights, weighted

__all__ = ["Embedder", "PromptGuess", "load_embedder", "words"]

Array = NDArray[np.float64]

_PENALTY = 10.0
"""Of the ridge regression; vectors have length 1."""

_PARTS = 5
_BATCH = 64
_OPTION = "--embeddings"


class Embedder(Protocol):
    """Makes vectors of texts, as ``SentenceTransformer(...).encode`` and ``StaticModel...encode`` do."""

    def __call__(self, texts: Sequence[str], /) -> Any:
        """One vector per text, shape (len(texts), d), d always the same; anything that numpy makes an array of."""


def words(texts: Sequence[str]) -> Array:
    """The hashed words of texts, which forecasts of what follows a call look at; an `Embedder`."""
    return word_rows([packed_features(text) for text in texts])


def load_embedder(name: str) -> Embedder:
    """The embedder of this name, ``module:attribute``, as `Embedder` says.

    Raises:
        ConfigError: there is none.
    """
    module, colon, attribute = name.partition(":")
    allowed = "my_module:my_function, which makes one vector of each of a list of texts"
    if not (module and colon and attribute):
        raise ConfigError("names no function", field=_OPTION, given=name, allowed=allowed)
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # somebody else's module: whatever it raises while it is imported is its failure
        raise ConfigError(f"cannot be imported: {error}", field=_OPTION, given=name, allowed=allowed) from error
    if not callable(found):
        raise ConfigError("is no function", field=_OPTION, given=name, allowed=allowed)
    made: Embedder = found
    return made


class PromptGuess:
    """Guesses log(1 + output tokens) from a prompt's vector, by ridge regression.

    Args:
        embed: makes the vectors.
    """

    def __init__(self, embed: Embedder) -> None:
        self._embed = embed
        self._vectors: dict[str, Array] = {}
        self._taught: list[tuple[str, str, int]] = []
        self._model: tuple[Array, float, Array] | None = None

    def learn(self, run: str, prompt: str, tokens: int) -> None:
        """Take one answer's length, in tokens."""
        self._taught.append((run, prompt, tokens))

    def fit(self) -> Array:
        """Learn from all that was taught, and guess it too, shape (n,): each answer from other runs than its own."""
        self._make([prompt for _, prompt, _ in self._taught])
        vectors = np.array([self._vectors[prompt] for _, prompt, _ in self._taught])
        target = np.log1p([float(tokens) for _, _, tokens in self._taught])
        runs: Mapping[str, int] = {run: k for k, run in enumerate(dict.fromkeys(run for run, _, _ in self._taught))}
        part = np.array([runs[run] % _PARTS for run, _, _ in self._taught])
        guessed = np.full(target.size, target.mean())
        for held in range(min(_PARTS, len(runs))):
            own = part == held
            if not own.all():
                guessed[own] = _guess(vectors[own], _fitted(vectors[~own], target[~own]))
        self._model = _fitted(vectors, target)
        return guessed

    def of(self, prompt: str) -> float:
        """The guess; `fit` must have been called."""
        assert self._model is not None
        self._make([prompt])
        return float(_guess(self._vectors[prompt][None, :], self._model)[0])

    def _make(self, prompts: Sequence[str]) -> None:
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._vectors]
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            made = _checked(self._embed, batch)
            known = next(iter(self._vectors.values()), made[0])
            if known.size != made.shape[1]:
                raise ConfigError(
                    "vectors of another length", field=_OPTION, given=made.shape[1], allowed=str(known.size)
                )
            self._vectors.update(zip(batch, made, strict=True))


def _checked(embed: Embedder, texts: Sequence[str]) -> Array:
    """The vectors of texts, each of length 1.

    Raises:
        ConfigError: the embedder fails, or gives something else than one vector of finite numbers for each.
    """
    try:
        made = np.asarray(embed(texts), dtype=np.float64)
    except Exception as error:  # somebody else's code: whatever it raises is its failure, not ours
        raise ConfigError(f"failed: {error!r}", field=_OPTION) from error
    if made.ndim != 2 or made.shape[0] != len(texts) or made.shape[1] < 1 or not np.isfinite(made).all():
        what = f"an array of shape {made.shape}"
        raise ConfigError("no vectors", field=_OPTION, given=what, allowed=f"shape ({len(texts)}, d), finite numbers")
    lengths = np.sqrt(np.einsum("ij,ij->i", made, made))
    unit: Array = made / np.maximum(lengths, 1e-12)[:, None]
    return unit


def _fitted(vectors: Array, target: Array) -> tuple[Array, float, Array]:
    """Means of the vectors and of the target, and weights."""
    mean, middle = vectors.mean(axis=0), float(target.mean())
    inputs = vectors - mean
    return mean, middle, ridge_weights(products(inputs), weighted(inputs.T, target - middle), _PENALTY)


def _guess(vectors: Array, model: tuple[Array, float, Array]) -> Array:
    mean, middle, weights = model
    return weighted(vectors - mean, weights) + middle
