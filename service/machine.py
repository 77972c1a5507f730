"""The number of threads that this process may use. The cores of the host say little inside a container."""

from __future__ import annotations

import os
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
    for line in _text(proc).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = cgroups / controllers if controllers else cgroups
        # Inside a container the path is the host's, and what it names is mounted as the root.
        for folder in {mount, cgroups / "cpu" if controllers else mount, *_branch(mount, path)}:
            limits += _limit(folder)
    return min(limits)


def _branch(mount: Path, path: str) -> list[Path]:
    own = mount / path.lstrip("/")
    return [own, *(parent for parent in own.parents if parent.is_relative_to(mount))]


def _limit(folder: Path) -> list[float]:
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
