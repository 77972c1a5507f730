"""Where the server listens: a socket for IPv6 and IPv4 together, and the address at which this machine reaches it."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

ALL_OF_IPV6 = "::"
ALL_OF_IPV4 = "0.0.0.0"
_MAPPED = "::ffff:"  # before the IPv4 address of a client that came over IPv4 to a socket for both
_log = logging.getLogger(__name__)


def dual_stack(port: int) -> socket.socket:
    """Return a socket that is bound to all addresses of this machine, of IPv6 and of IPv4. Raises OSError."""
    # With the protocol named, asyncio switches Nagle's algorithm off, as for the sockets that it makes itself.
    made = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((ALL_OF_IPV6, port))
    except OSError:
        made.close()
        raise
    return made


def plain(client: tuple[str, int] | None) -> tuple[str, int] | None:
    """Return a client's address as the client knows it: an IPv4 address is none of IPv6."""
    if client is None or not client[0].startswith(_MAPPED):
        return client
    return client[0].removeprefix(_MAPPED), client[1]


def own_address(listening: socket.socket) -> str:
    """Return the URL at which processes of this machine reach what listens there."""
    host, port = listening.getsockname()[:2]
    host = "127.0.0.1" if host in (ALL_OF_IPV6, ALL_OF_IPV4) else host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def tell_address(file: Path, listening: socket.socket) -> None:
    """Write the URL into a file. One that cannot be written is a warning, because the service works without it."""
    try:
        file.write_text(own_address(listening) + "\n")
    except OSError as error:
        _log.warning("address_file: %s cannot be written, so health checks fail: %s", file, error.strerror)
