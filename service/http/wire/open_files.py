"""The limit of open files, of which each connection is one."""

from __future__ import annotations

import os
import resource
from pathlib import Path

ACCEPTS = 8  # connections accepted before any of them is looked at
RESERVE = 40  # files for connections that are just being accepted or refused, for logs
FILES_A_PLACE = 3  # of those where images are decoded: a process's socket, the body and the pixels
MOST = 4096  # connections, where no setting says otherwise: each takes some ten kilobytes
_ENOUGH = 65_536  # files; some systems have no limit, or one that cannot be set
_OPEN = Path("/proc/self/fd")


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one, as far as it is of use. Return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):  # what the system allows is less than it says
            pass
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def most_connections(wanted: int | None, limit: int, places: int) -> int:
    """Return how many connections may be open: those wanted, if the limit of open files allows them; at least 1.

    limit: of open files. places: images that are decoded at a time.
    """
    decoding = FILES_A_PLACE * places + 1  # a process more than places is kept
    possible = max(1, limit - _open_files() - RESERVE - decoding)
    return min(MOST if wanted is None else wanted, possible)


def _open_files() -> int:
    try:
        return len(os.listdir(_OPEN))
    except OSError:  # not Linux
        return 32
