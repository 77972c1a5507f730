"""Arguments and variables of the environment that cannot be used are named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pointrend_client import AsyncClient, Client, ClientError

URL = "http://127.0.0.1:9"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("NO_PROXY", "localhost,127.0.0.1,[::1]", r"'\[::1\]' is not a host"),
        ("no_proxy", "[fe80::1]", "no brackets"),
        ("ALL_PROXY", "gopher://proxy:1080", "not the address of an HTTP or SOCKS proxy"),
        ("HTTPS_PROXY", "http://proxy:port", "not the address of an HTTP or SOCKS proxy"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    client: type[Client] | type[AsyncClient], name: str, value: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ClientError, match=f"the environment variable {name} cannot be used: .*{why}"):
        client(URL)


def test_a_socks_proxy_needs_a_package_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:1080")
    with pytest.raises(
        ClientError, match=r"ALL_PROXY .* kind socks5 .* pip install 'httpx\[socks\]'"
    ) as raised:
        Client(URL)
    assert "secret" not in str(raised.value)


def test_certificates_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ClientError, match=r"SSL_CERT_FILE .*none\.pem: no such file"):
        Client(URL)


@pytest.mark.parametrize("value", ["::1,localhost", "10.0.0.0/8,.example.com", "*", "example.com:8080", ""])
def test_usual_values_are_fine(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", value)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    with Client(URL):
        pass


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost", "ftp://host", "http://", ""])
def test_an_address_without_a_scheme(url: str) -> None:
    with pytest.raises(ClientError, match=r"must be like http://127\.0\.0\.1:8000"):
        Client(url)


def test_an_address_that_is_no_url() -> None:
    with pytest.raises(ClientError, match="'http://host:port' is no URL"):
        Client("http://host:port")


@pytest.mark.parametrize("key", ["", " \n", "schlüssel", "two\nlines"])
def test_a_key_that_no_header_can_carry(key: str) -> None:
    with pytest.raises(ClientError, match="api_key must be of printable ASCII"):
        Client(URL, api_key=key)
