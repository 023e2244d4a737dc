"""Whose certificates are believed."""

import functools
import importlib
import os
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from agentsched.core.endpoint import Endpoint, Tls
from agentsched.errors import ConfigError

__all__ = ["credentials_of", "trusted"]

_NAMED = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def credentials_of(endpoints: Iterable[Endpoint]) -> dict[str, ssl.SSLContext]:
    """By the names of those endpoints that have to show a certificate: whose is believed there, and who this client is.

    Reads files, of each once: to be called before the first call.

    Raises:
        ConfigError: a file of an endpoint's `Tls` cannot be used; the field says which.
    """
    made: dict[str, ssl.SSLContext] = {}
    known: dict[Tls, ssl.SSLContext] = {}
    for endpoint in endpoints:
        if endpoint.secure:
            tls = endpoint.tls
            try:
                if tls not in known:
                    known[tls] = trusted() if tls == Tls() else _of_its_own(tls)
                made[endpoint.name] = known[tls]
            except ConfigError as error:
                where = f"endpoint {endpoint.name!r}.{error.field}"
                raise ConfigError(error.message, field=where, given=error.given, allowed=error.allowed) from error
    return made


def _of_its_own(tls: Tls) -> ssl.SSLContext:
    if tls.ca is None:
        context = _usual()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(("http/1.1",))
        _loaded("tls.ca", tls.ca, "a PEM file with certificates", lambda: context.load_verify_locations(tls.ca))
    if not tls.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if tls.cert is not None:
        _read("tls.cert", tls.cert)
        if tls.key is not None:
            _read("tls.key", tls.key)
        what = "a PEM file with a certificate and its private key, which has no password, or the key in tls.key"
        cert = tls.cert
        _loaded("tls.cert", cert, what, lambda: context.load_cert_chain(cert, tls.key, password=_no_password))
    return context


def _no_password() -> str:
    """OpenSSL would ask for it at the terminal."""
    return ""


def _read(field: str, path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", field=field, given=path) from error


def _loaded(field: str, path: str, what: str, load: Callable[[], None]) -> None:
    _read(field, path)
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError("cannot be used", field=field, given=path, allowed=what) from error


@functools.cache
def trusted() -> ssl.SSLContext:
    """What is believed of endpoints whose `Tls` says nothing: one context for all of them. Reads files."""
    return _usual()


def _usual() -> ssl.SSLContext:
    """The system's certificates, or those that ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` name, as httpx takes them.

    A Python that brings its own OpenSSL may know none of the system's (the one from python.org, on macOS, until its
    installer's script was run): then those of ``certifi``, which came with httpx, are believed.
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
