"""What a worker may use. The hard limits are set once, at the fork; a task sets the soft ones below them.

RLIMIT_NPROC is not among them: it would forbid the second thread with which WebP pictures are decoded. New processes
are forbidden by the sandbox.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MARGIN = 32 * 2**20  # bytes that a task may take beyond its prediction: stacks of threads, fragments
MOST_RESULT = 2**28  # bytes of pixels that a task returns
OPEN_FILES = 16
LARGE_NICE = 10  # added to the niceness while a large picture is decoded
_UNLIMITED = resource.RLIM_INFINITY


class WorkerLimits:
    """The limits of this process. `most` is the largest task's memory in bytes."""

    def __init__(self, most: int) -> None:
        self._sizes = _open("/proc/self/statm")
        self._idle = self.address_space() or 0
        self._resident = self._size(1) or 0
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, MOST_RESULT))
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
        self._hard = self._set_hard(most)

    def _set_hard(self, most: int) -> int:
        if not self._idle:  # without /proc nobody knows what a limit should add to
            return _UNLIMITED
        limit, hard = self._idle + most + 2 * MARGIN, resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = _least(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return limit

    @property
    def descriptors(self) -> set[int]:
        """Descriptors that must stay open."""
        return set() if self._sizes is None else {self._sizes}

    def address_space(self) -> int | None:
        """Return the bytes of address space in use, or None where that is not known."""
        return self._size(0)

    def kept(self) -> int:
        """Return the bytes of memory that tasks left behind."""
        return (self._size(1) or 0) - self._resident

    def _size(self, field: int) -> int | None:
        if self._sizes is None:
            return None
        return int(os.pread(self._sizes, 64, 0).split()[field]) * resource.getpagesize()

    @contextmanager
    def task(self, most: int, result: int, seconds: float) -> Iterator[None]:
        """Allow `most` more bytes, a `result` of so many, and five times `seconds` of CPU time, and a second.

        Afterwards memory and CPU time are limited as before: what a worker does between two tasks is no picture's.
        """
        resource.setrlimit(resource.RLIMIT_FSIZE, (min(result, MOST_RESULT), MOST_RESULT))
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = math.ceil(used.ru_utime + used.ru_stime + 1 + 5 * seconds)
        time = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (_least(cpu, time[1]), time[1]))
        before = self.address_space()
        if before is not None:
            soft = before + most + MARGIN
            resource.setrlimit(resource.RLIMIT_AS, (_least(soft, self._hard), self._hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_CPU, time)
            if before is not None:
                resource.setrlimit(resource.RLIMIT_AS, (self._hard, self._hard))


def first_to_go() -> None:
    """If the machine runs out of memory, this process is killed before the service is."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _least(wanted: int, hard: int) -> int:
    """Return a soft limit that a hard one allows."""
    return wanted if hard == _UNLIMITED else min(wanted, hard)


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
