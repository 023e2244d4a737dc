"""From a few timed answers to the four figures of a profile.

The profile says that an endpoint that decodes B calls at once needs ``a + b * B`` seconds per output token, reads
``p`` prompt tokens per second, and takes ``t`` seconds to the first token of an empty prompt when it is idle. With

    d(1)   median time per output token of the answers that came alone
    d(c)   median time per output token of c answers while all c were running
    T(N)   median time to first token of prompts of N tokens that were not in the prefix cache

and a small prompt of n tokens and a long one of N tokens, each different from the start so that no cache helps:

    b = (d(c) - d(1)) / (c - 1)              not below 0, not above d(1) / 2
    a = d(1) - b
    p = (N - n) / (T(N) - T(n))              only if the difference stands out of the spread of T(n)
    t = T(n) - n / p                         not below d(1), one step of the model; T(n) itself when p is unknown

The bound on b is for servers that slow down more than the line allows, as a CPU does that decodes its calls one after
the other: policies take ``a`` for the endpoint's speed, so it stays within a factor of two of what was measured, and
the rest is learned from real calls.

Medians, because one stalled answer must not decide. ``d`` of one answer is the time from its first to its last piece
of output over the number of output tokens less one; where a server packs several tokens into a piece, the first piece
is taken to hold as many as the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Figures", "Sample", "fit"]

_FEWEST_PIECES = 3
_PREFILL_NOISE_S = 0.002
_MOST_PER_BATCH = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """One streamed answer, timed on the monotonic clock.

    Attributes:
        sent_at: when the request was sent.
        token_at: when each piece of output came.
        output_tokens: as the server counted them; None: it did not say.
        input_tokens: as the server counted them; None: it did not say.
        cached_input_tokens: prompt tokens it had in its cache; None: it did not say.
    """

    sent_at: float
    token_at: tuple[float, ...]
    output_tokens: int | None = None
    input_tokens: int | None = None
    cached_input_tokens: int | None = None

    @property
    def ttft_s(self) -> float:
        """Seconds to the first piece of output."""
        return self.token_at[0] - self.sent_at

    @property
    def tokens_per_piece(self) -> float:
        """Output tokens in one piece, on average; never below 1."""
        return max(1.0, (self.output_tokens or 0) / len(self.token_at))

    def tpot_s(self, start: float | None = None, end: float | None = None) -> float | None:
        """Seconds per output token between two instants (all of the answer); None: too few pieces to tell."""
        inside = [at for at in self.token_at if (start is None or at >= start) and (end is None or at <= end)]
        if len(inside) < _FEWEST_PIECES or inside[-1] <= inside[0]:
            return None
        return (inside[-1] - inside[0]) / ((len(inside) - 1) * self.tokens_per_piece)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was found; None where it could not be told. Seconds and tokens per second; see the module for formulas.

    Attributes:
        ttft_s, tpot_s, tpot_per_batch_s, prefill_tokens_per_s: the profile.
        tpot_alone_s: d(1).
        tpot_together_s: d(c).
        ttft_short_s: T(n).
        ttft_long_s: T(N).
        together: c.
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    tpot_per_batch_s: float | None = None
    prefill_tokens_per_s: float | None = None
    tpot_alone_s: float | None = None
    tpot_together_s: float | None = None
    ttft_short_s: float | None = None
    ttft_long_s: float | None = None
    together: int = 0

    def profile(self) -> dict[str, float]:
        """What is known of the profile, to four significant digits."""
        names = ("ttft_s", "tpot_s", "tpot_per_batch_s", "prefill_tokens_per_s")
        found = {name: getattr(self, name) for name in names}
        return {name: float(f"{value:.4g}") for name, value in found.items() if value is not None}


def fit(
    short: Sequence[Sample], together: Sequence[Sample], long: Sequence[Sample], *, short_tokens: int, long_tokens: int
) -> Figures:
    """Apply the formulas above.

    Args:
        short: answers to small prompts, one at a time.
        together: answers to small prompts that were asked for at once; fewer than two say nothing.
        long: answers to long prompts, one at a time.
        short_tokens: size of the small prompts where the server does not count, tokens.
        long_tokens: size of the long prompts where the server does not count, tokens.
    """
    ttft_short_s = _median([sample.ttft_s for sample in short])
    ttft_long_s = _median([sample.ttft_s for sample in long])
    prefill = _prefill(short, long, short_tokens=short_tokens, long_tokens=long_tokens)
    alone_s = _median([sample.tpot_s() for sample in short])
    ttft_s = ttft_short_s
    if ttft_short_s is not None and prefill is not None:
        ttft_s = max(alone_s or 0.0, ttft_short_s - _fresh_tokens(short, short_tokens) / prefill)
    together_s = _together(together)
    a, b = alone_s, None
    if alone_s is not None and together_s is not None:
        b = min(_MOST_PER_BATCH * alone_s, max(0.0, (together_s - alone_s) / (len(together) - 1)))
        a = alone_s - b
    return Figures(ttft_s, a, b, prefill, alone_s, together_s, ttft_short_s, ttft_long_s, len(together))


def _together(samples: Sequence[Sample]) -> float | None:
    """Time per token while all ran; None when they never ran all at once (the endpoint has fewer slots)."""
    if len(samples) < 2:
        return None
    start = max(sample.token_at[0] for sample in samples)
    end = min(sample.token_at[-1] for sample in samples)
    found = [sample.tpot_s(start, end) for sample in samples]
    return None if None in found else _median(found)


def _prefill(short: Sequence[Sample], long: Sequence[Sample], *, short_tokens: int, long_tokens: int) -> float | None:
    if not short or not long:
        return None
    times = [sample.ttft_s for sample in short]
    difference_s = median(sample.ttft_s for sample in long) - median(times)
    noise_s = max(_PREFILL_NOISE_S, max(times) - min(times))
    tokens = _fresh_tokens(long, long_tokens) - _fresh_tokens(short, short_tokens)
    return tokens / difference_s if difference_s > noise_s and tokens > 0 else None


def _fresh_tokens(samples: Sequence[Sample], otherwise: int) -> float:
    """Prompt tokens that had to be read: those told, less those found in the cache."""
    counts = [
        otherwise if sample.input_tokens is None else sample.input_tokens - (sample.cached_input_tokens or 0)
        for sample in samples
    ]
    return median(counts)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
