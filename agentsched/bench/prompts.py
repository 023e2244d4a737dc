"""Prompts of a given length, as an agent sends them: one of a few system messages, and turns that are never alike."""

import numpy as np

__all__ = ["Messages", "make_prompts"]

Messages = list[dict[str, str]]

_CHARACTERS_PER_TOKEN = 5.9
"""Of the text made here, with cl100k_base (counted over 12,000 tokens of it)."""

_VOCABULARY = """
the of to and in that for with as by this from which after before customer order report answer question price result
table figure system agent tool search returned found three several recent careful summary draft review section source
claims evidence between against should would cannot therefore however because although market revenue quarter growth
risk plan step model data request deadline budget latency endpoint queue schedule
"""
_WORDS = _VOCABULARY.split()
_ROLES = ("system", "user", "assistant", "user")
_STEPS = 4


def make_prompts(count: int, tokens: int, rng: np.random.Generator) -> list[Messages]:
    """``count`` conversations of about ``tokens`` tokens each, four messages of equal length.

    The system message is one of four: an agent has few steps, and makes each of them often.
    """
    systems = [_text(tokens / len(_ROLES), rng) for _ in range(_STEPS)]
    return [_prompt(systems[index % _STEPS], tokens, rng) for index in range(count)]


def _prompt(system: str, tokens: int, rng: np.random.Generator) -> Messages:
    turns = [{"role": role, "content": _text(tokens / len(_ROLES), rng)} for role in _ROLES[1:]]
    return [{"role": "system", "content": system}, *turns]


def _text(tokens: float, rng: np.random.Generator) -> str:
    size = max(1, round(tokens * _CHARACTERS_PER_TOKEN))
    words = [_WORDS[index] for index in rng.integers(len(_WORDS), size=size // 4 + 2)]
    for index in range(11, len(words), 12):
        words[index] += ".\n" if index % 36 == 35 else ', "quoted"' if index % 24 == 23 else "."
    return " ".join(words)[:size]
