"""The cores and the memory that this process may use. What the host has says little inside a container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PROC, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def available(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Return the cores of the CPU affinity, or fewer if a cgroup's quota allows less. At least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Rounded down: with one thread too many, one is throttled in the middle of an operator, and the others wait for it.
    return max(1, min(cores, int(quota(proc, cgroups))))


def quota(proc: Path = PROC, cgroups: Path = CGROUPS) -> float:
    """Return the tightest CPU quota of this process's cgroup and its ancestors, in cores (cgroups v1 and v2)."""
    limits = [float(1 << 20)]  # more cores than any machine has
    for folder in _folders("cpu", proc, cgroups):
        limits += _cores(folder)
    return min(limits)


def memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Return the bytes of memory that this process may use.

    They are the tightest limit of its cgroup and its ancestors (v1 and v2), or the machine's memory if that is less:
    a cgroup of v1 without a limit names a number that no machine has.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in _folders("memory", proc, cgroups):
        for file in ("memory.max", "memory.limit_in_bytes"):
            text = _text(folder / file).strip()
            if text.isdecimal():  # not "max", not "-1", and there is such a file
                limits.append(int(text))
    return min(limits)


def _folders(controller: str, proc: Path, cgroups: Path) -> Iterator[Path]:
    """Yield the folders of this process's cgroup of a controller, and of its ancestors."""
    for line in _text(proc).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = cgroups / controllers if controllers else cgroups
        # Inside a container the path is the host's, and what it names is mounted as the root.
        yield from {mount, cgroups / controller if controllers else mount, *_branch(mount, path)}


def _branch(mount: Path, path: str) -> list[Path]:
    own = mount / path.lstrip("/")
    return [own, *(parent for parent in own.parents if parent.is_relative_to(mount))]


def _cores(folder: Path) -> list[float]:
    words = _text(folder / "cpu.max").split() or [
        *_text(folder / "cpu.cfs_quota_us").split(),
        *_text(folder / "cpu.cfs_period_us").split(),
    ]
    try:
        allowed, period = (float(word) for word in words)
    except ValueError:  # "max", or no such files
        return []
    return [allowed / period] if allowed > 0 and period > 0 else []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
