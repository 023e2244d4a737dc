"""What clients of the same endpoints tell each other."""

from dataclasses import dataclass

__all__ = ["Posting"]


@dataclass(frozen=True, slots=True)
class Posting:
    """What one client tells all others, as a store carries it.

    Attributes:
        client: who tells it; unique among all clients of the store.
        content: what it tells; opaque to the store.
        age_s: seconds since it was posted, by the store's clock; 0 for the client's own.
    """

    client: str
    content: bytes
    age_s: float = 0.0
