"""The prefix cache: which blocks of a prompt an instance has already computed."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from itertools import islice, repeat

__all__ = ["PrefixCache", "block_chain"]


def block_chain(data: bytes, block_bytes: int) -> tuple[int, ...]:
    """Hash the full blocks of a text, each hash covering everything before it.

    Two texts share exactly as many leading hashes as they share leading blocks.

    Args:
        data: the text as bytes (or token ids packed into bytes).
        block_bytes: bytes per block; a trailing partial block is left out.
    """
    chain: list[int] = []
    previous = b""
    for end in range(block_bytes, len(data) + 1, block_bytes):
        previous = blake2b(data[end - block_bytes : end], digest_size=8, key=previous).digest()
        chain.append(int.from_bytes(previous, "big"))
    return tuple(chain)


class PrefixCache:
    """Least-recently-used set of blocks.

    Args:
        block_tokens: tokens per block.
        capacity_tokens: tokens that all blocks together may hold.
    """

    def __init__(self, block_tokens: int, capacity_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._capacity = capacity_tokens // block_tokens
        self._blocks: dict[int, None] = {}  # oldest first

    @property
    def tokens(self) -> int:
        """Tokens held."""
        return len(self._blocks) * self._block_tokens

    def match(self, chain: tuple[int, ...]) -> int:
        """Return how many leading tokens of the chain are held, and mark them as just used."""
        blocks = self._blocks
        found = 0
        for block in chain:
            if block not in blocks:
                break
            found += 1
        # Deepest first: when memory is short, the end of a chain must go before its beginning.
        self._use(chain[:found])
        return found * self._block_tokens

    def insert(self, chain: tuple[int, ...]) -> None:
        """Hold the chain's blocks as the most recently used, dropping the least recently used ones for them."""
        self._use(chain[: self._capacity])
        self._trim(self._capacity)

    def _use(self, chain: tuple[int, ...]) -> None:
        """Hold these blocks as the most recently used, the last of the chain as the oldest of them."""
        blocks = self._blocks
        if chain and chain[0] in blocks:  # without the first block none of those that cover it is held either
            deque(map(blocks.pop, chain, repeat(None)), maxlen=0)  # a loop of its own takes twice as long
        blocks.update(dict.fromkeys(reversed(chain)))

    def squeeze(self, free_tokens: int) -> None:
        """Drop the least recently used blocks until at most ``free_tokens`` tokens are held."""
        if len(self._blocks) * self._block_tokens > free_tokens:
            self._trim(free_tokens // self._block_tokens)

    def clear(self) -> None:
        """Forget everything."""
        self._blocks.clear()

    def _trim(self, limit: int) -> None:
        blocks = self._blocks
        if len(blocks) <= limit:
            return
        # In one pass: to find a dict's first entry means to step over all that were deleted before it.
        for block in tuple(islice(blocks, len(blocks) - limit)):
            del blocks[block]
