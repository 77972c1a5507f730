"""Opening httpx's clients, and saying which argument or which variable of the environment is in the way."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx

from pointrend_client.errors import ClientError, reason

CONNECT_SECONDS = 10.0  # at most, for a connection; an address behind which nothing is would take minutes
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_UNUSABLE = (httpx.InvalidURL, ImportError, ValueError, OSError)  # what httpx raises for a wrong environment

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)


def open_http(kind: type[Http], url: str, api_key: str | None, timeout: float, connections: int) -> Http:
    """Return httpx's client `kind` for the service at `url`. Raises ClientError that names what cannot be used."""
    _check_url(url)
    try:
        return kind(
            base_url=url,
            headers=_headers(api_key),
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS), pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )
    except _UNUSABLE as error:
        culprit = next(_unusable_variables(), None)
        raise ClientError(culprit or f"cannot make a client: {reason(error)}") from error


def _check_url(url: str) -> None:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ClientError(f"the address {url!r} is no URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ClientError(f"the address must be like http://127.0.0.1:8000, got {url!r}")


def _headers(api_key: str | None) -> dict[str, str]:
    if api_key is None:
        return {}
    key = api_key.strip()  # a key that is read from a file ends with its line
    if not key or not (key.isascii() and key.isprintable()):
        raise ClientError("api_key must be of printable ASCII characters")
    return {"authorization": f"Bearer {key}"}


def _unusable_variables() -> Iterator[str]:
    """Yield what is wrong with each variable of the environment that httpx cannot use. Secrets are not repeated."""
    for name in (*_PROXIES, *map(str.upper, _PROXIES)):
        if (value := os.environ.get(name)) and (found := _failure(_try_proxy, value)):
            kind = value.partition("://")[0]
            why = (
                f"a proxy of kind {kind} needs another package: pip install 'httpx[socks]'"
                if isinstance(found, ImportError)
                else "it is not the address of an HTTP or SOCKS proxy"
            )
            yield f"the environment variable {name} cannot be used: {why}, or unset it"
    for name in ("no_proxy", "NO_PROXY"):
        for host in map(str.strip, os.environ.get(name, "").split(",")):
            if host and _failure(_try_host, host):
                yield (
                    f"the environment variable {name} cannot be used: {host!r} is not a host; "
                    "an IPv6 address has no brackets there, as in ::1"
                )
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if (value := os.environ.get(name)) and (found := _failure(_try_certificates, value)):
            yield f"the environment variable {name} cannot be used: {value}: {reason(found)}"


def _failure(attempt: Callable[[str], object], value: str) -> Exception | None:
    try:
        attempt(value)
    except _UNUSABLE as error:
        return error
    return None


def _try_proxy(address: str) -> None:
    full = address if "://" in address else f"http://{address}"
    httpx.Client(proxy=full, trust_env=False, verify=False).close()


def _try_host(host: str) -> None:
    try:
        ipaddress.ip_interface(host)
    except ValueError:
        httpx.URL(host if "://" in host else f"all://*{host}")


def _try_certificates(path: str) -> None:
    if Path(path).is_dir():
        ssl.create_default_context(capath=path)
    else:
        ssl.create_default_context(cafile=path)
