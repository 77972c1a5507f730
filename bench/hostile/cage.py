"""A limit on the memory of a server and its processes, and how much they take."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from service.machine import CGROUPS, PROC

PERIOD = 0.02  # seconds between two samples of the memory
# Files of a cgroup of v1 and v2, and the lines of memory.stat that count what cannot be given back.
_LIMIT = ("memory.limit_in_bytes", "memory.max")
_KILLS = ("memory.oom_control", "memory.events")
_ANONYMOUS = (("total_rss", "total_shmem"), ("anon", "shmem"))


@dataclass(frozen=True)
class Cage:
    """A memory cgroup that a server is started in."""

    folder: Path

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command that enters the cgroup and then runs this one."""
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.folder / "cgroup.procs"), *command]

    def used(self, _: int) -> int:
        """Return the bytes of memory of all its processes, without files that the system keeps in memory."""
        lines = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        names = _ANONYMOUS[0] if _ANONYMOUS[0][0] in lines else _ANONYMOUS[1]
        return sum(int(lines[name]) for name in names)

    def kills(self) -> int:
        """Return how many processes the system has killed because the limit was reached."""
        text = next((self.folder / name).read_text() for name in _KILLS if (self.folder / name).exists())
        return int(dict(line.split() for line in text.splitlines()).get("oom_kill", 0))


@dataclass(frozen=True)
class Watch:
    """Where there can be no cgroup: nothing is limited, but the memory is watched all the same."""

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command itself."""
        return list(command)

    def used(self, pid: int) -> int:
        """Return the bytes of memory of a process and its children, pages that several share counted once."""
        total = 0
        for process in _tree(pid):
            with suppress(OSError):
                for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                    if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                        total += int(line.split()[1]) * 1024
        return total

    def kills(self) -> int:
        """Return 0."""
        return 0


@contextmanager
def limited(memory: int) -> Iterator[Cage | Watch]:
    """Yield a cage of this many bytes, below the cgroup of this process, or a watch where none can be made."""
    folder = _own_folder() / f"hostile-{os.getpid()}-{time.monotonic_ns()}"
    try:
        folder.mkdir()
    except OSError:
        yield Watch()
        return
    try:
        limit = next((folder / name for name in _LIMIT if (folder / name).exists()), None)
        if limit is None:  # v2, and the parent does not pass the memory's controller on
            yield Watch()
        else:
            limit.write_text(str(memory))
            yield Cage(folder)
    finally:
        _remove(folder)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))


def _own_folder() -> Path:
    for line in PROC.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return CGROUPS / controllers / path.lstrip("/")
    return CGROUPS / PROC.read_text().splitlines()[-1].split(":", 2)[2].lstrip("/")


def _remove(folder: Path) -> None:
    for _ in range(100):  # its last processes may just be ending
        try:
            folder.rmdir()
            return
        except OSError:
            time.sleep(0.1)


@contextmanager
def peak(used: Callable[[], int]) -> Iterator[Callable[[], int]]:
    """Sample the memory while the context is open; yield a function that returns the most there was."""
    most, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(PERIOD):
            with suppress(OSError):
                most = max(most, used())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: most
    finally:
        ended.set()
        watcher.join()
