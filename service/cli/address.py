"""Whether a server can and should listen at an address, asked before its models are loaded."""

from __future__ import annotations

import errno
import ipaddress
import socket

from model.errors import UserError


def check_address(host: str, port: int) -> None:
    """Raise UserError in one line unless this process can listen at the address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise UserError(f"host: {host!r} is not an address: {error.strerror}") from error
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UserError(_why(error, host, port)) from error


def check_closed(host: str, published_at: str, has_keys: bool, *, lends_token: bool = False) -> str | None:
    """Return a warning if other machines may send requests and need no key; None if not.

    `published_at` is where a container's engine publishes the port, "" outside of one. Raises UserError where somebody
    asked for that to be other machines, and where others than this machine's could use a token (`lends_token`).
    """
    if lends_token and not has_keys and not _this_machine(host):
        raise UserError(
            f"label_studio_url: anybody who reaches {host} would get masks of the pictures in Label Studio: set "
            "POINTREND_API_KEYS or POINTREND_API_KEYS_FILE, or listen at 127.0.0.1"
        )
    if has_keys or _this_machine(published_at or host):
        return None
    if published_at:
        raise UserError(
            f"ADDRESS={published_at} lets other machines in, and nobody needs a key: set POINTREND_API_KEYS or "
            "POINTREND_API_KEYS_FILE"
        )
    return (
        f"ANYBODY who reaches {host} may send requests: set POINTREND_API_KEYS or POINTREND_API_KEYS_FILE, "
        "or listen at 127.0.0.1 and put a proxy before it"
    )


def _this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port: {port} of {host} is in use: choose another, such as --port {port % 65535 + 1}"
    if error.errno == errno.EACCES:
        return f"port: {port} is for privileged processes: choose one of 1024–65535"
    if error.errno == errno.EAFNOSUPPORT:
        return f"host: this machine has no IPv6, so nothing can listen at {host}: 0.0.0.0 is all of its IPv4"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"host: {host} is not an address of this machine"
    return f"host: cannot listen at {host}, port {port}: {error.strerror}"
