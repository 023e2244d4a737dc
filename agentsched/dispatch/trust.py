"""Whose certificates are believed."""

import functools
import importlib
import os
import ssl
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from agentsched.core.endpoint import Endpoint

__all__ = ["has_tls", "trusted"]

_NAMED = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def has_tls(endpoints: Iterable[Endpoint]) -> bool:
    """Whether one of them at least has to show a certificate."""
    return any(endpoint.base_url.lower().startswith("https:") for endpoint in endpoints)


@functools.cache
def trusted() -> ssl.SSLContext:
    """The system's certificates, or those that ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` name, as httpx takes them.

    A Python that brings its own OpenSSL may know none of the system's (the one from python.org, on macOS, until its
    installer's script was run): then those of ``certifi``, which came with httpx, are believed. Reads files.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(("http/1.1",))
    if not any(os.environ.get(name) for name in _NAMED) and not context.get_ca_certs() and not _found_later():
        with suppress(ImportError):
            context.load_verify_locations(importlib.import_module("certifi").where())
    return context


def _found_later() -> bool:
    """Whether OpenSSL has a folder of certificates, where it looks for them when it needs them."""
    folder = ssl.get_default_verify_paths().capath
    return folder is not None and any(Path(folder).iterdir())
