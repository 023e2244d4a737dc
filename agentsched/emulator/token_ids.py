"""The emulated tokenizer: four bytes are a token, and every token has an id.

An id tells its token's bytes. Tokens that the model has generated have ids of their own, so that it knows its own words
when they come back at the end of a prompt. As with real tokenizers a character may be spread over several tokens; its
text is then said with the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

from agentsched.emulator.words import BYTES_PER_TOKEN

__all__ = ["bytes_of", "cached_bytes", "generated", "ids_of", "is_id", "pieces", "text_of", "texts_of"]

_GENERATED = 1 << 33
_FIRST: tuple[int, ...] = tuple((256**length - 1) // 255 for length in range(BYTES_PER_TOKEN + 2))
"""The id of the first token with so many bytes; no token has as many as the last of these stands for."""


def pieces(text: str) -> list[bytes]:
    """The tokens of a text."""
    data = text.encode()
    return [data[start : start + BYTES_PER_TOKEN] for start in range(0, len(data), BYTES_PER_TOKEN)]


def ids_of(tokens: Iterable[bytes], *, said: bool = False) -> list[int]:
    """The ids of tokens, of a prompt or of what the model ``said``."""
    base = _GENERATED if said else 0
    return [base + _FIRST[len(token)] + int.from_bytes(token, "big") for token in tokens]


def is_id(value: object) -> bool:
    """Whether this is the id of a token."""
    return type(value) is int and value >= 0 and value % _GENERATED < _FIRST[-1] and value < 2 * _GENERATED


def bytes_of(token_id: int) -> bytes:
    """The token's bytes."""
    number = token_id % _GENERATED
    length = next(length for length in range(BYTES_PER_TOKEN, -1, -1) if number >= _FIRST[length])
    return int.to_bytes(number - _FIRST[length], length, "big")


def generated(ids: Sequence[int]) -> int:
    """How many ids at the end are of tokens that the model has said."""
    return sum(1 for _ in takewhile(lambda token_id: token_id >= _GENERATED, reversed(ids)))


def text_of(ids: Iterable[int]) -> str:
    """What these tokens say; bytes that are no character are written out."""
    return b"".join(map(bytes_of, ids)).decode("utf-8", "backslashreplace")


def cached_bytes(ids: Iterable[int]) -> bytes:
    """Four bytes for each token, equal for equal tokens whoever said them."""
    return b"".join(bytes_of(token_id).ljust(BYTES_PER_TOKEN, b"\0") for token_id in ids)


def texts_of(tokens: Iterable[bytes]) -> list[str]:
    """What is said with each token: all that is not said yet, as soon as it ends with a whole character."""
    texts, held = [], b""
    for token in tokens:
        held += token
        try:
            texts.append(held.decode())
            held = b""
        except UnicodeDecodeError:
            texts.append("")
    return texts
