"""Whose certificates are believed."""

import ssl
from types import SimpleNamespace

import pytest

from agentsched.core.endpoint import Endpoint
from agentsched.dispatch.trust import credentials_of, trusted


@pytest.fixture
def no_certificates(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Python whose OpenSSL finds no certificate, as on a fresh macOS."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: SimpleNamespace(capath=None))
    return monkeypatch


def test_where_the_system_has_no_certificates_those_that_came_with_httpx_are_believed(no_certificates):
    pytest.importorskip("certifi")
    context = trusted.__wrapped__()
    assert context.get_ca_certs()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_those_that_the_environment_names_are_the_only_ones(no_certificates, tmp_path):
    no_certificates.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert not trusted.__wrapped__().get_ca_certs()


def test_a_folder_of_certificates_is_enough(no_certificates, tmp_path):
    (tmp_path / "0a775a30.0").touch()
    no_certificates.setattr(ssl, "get_default_verify_paths", lambda: SimpleNamespace(capath=str(tmp_path)))
    assert not trusted.__wrapped__().get_ca_certs()


def test_only_endpoints_with_tls_need_certificates():
    secure, plain = (Endpoint(name=s, base_url=f"{s}://a.example/v1", model="m") for s in ("https", "http"))
    assert credentials_of([secure, plain]) == {"https": trusted()}
