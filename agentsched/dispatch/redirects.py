"""Where a redirect leads, if a request with credentials may follow it there."""

from urllib.parse import SplitResult, urljoin, urlsplit

__all__ = ["MOST_REDIRECTS", "redirected"]

MOST_REDIRECTS = 5

_SAME_REQUEST = frozenset({307, 308})
"""The others turn a POST into a GET, which is no model call."""


def redirected(status: int, url: str, location: str | None) -> str | None:
    """The address to ask instead; None: it is no redirect, or none to be followed.

    The prompt and the endpoint's key stay on its host, where they were meant to go: only another path, or the same
    host with TLS, is followed.

    Args:
        status: of the answer.
        url: what was asked.
        location: the answer's header.
    """
    if status not in _SAME_REQUEST or not location:
        return None
    try:
        to = urljoin(url, location)
        before, after = _origin(urlsplit(url)), _origin(urlsplit(to))
    except ValueError:
        return None
    with_tls = before == ("http", after[1], 80) and after == ("https", before[1], 443)
    return to if before == after or with_tls else None


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)
