"""Cores and memory under the limits of both kinds of cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.machine import available, memory, quota


def tree(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "proc", root / "cgroup"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 1 << 20),
        ({"proc": "0::/\n", "cgroup/cpu.max": "max 100000\n"}, 1 << 20),
        ({"proc": "0::/\n", "cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc": "0::/a/b\n", "cgroup/a/cpu.max": "50000 100000", "cgroup/a/b/cpu.max": "max 100000"}, 0.5),
        ({"proc": "0::/host/path\n", "cgroup/cpu.max": "300000 100000\n"}, 3),
        (
            {
                "proc": "4:memory:/m\n3:cpu,cpuacct:/docker/x\n",
                "cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "250000\n",
                "cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            {"proc": "1:cpu:/\n", "cgroup/cpu/cpu.cfs_quota_us": "-1", "cgroup/cpu/cpu.cfs_period_us": "1"},
            1 << 20,
        ),
    ],
)
def test_quota(tmp_path: Path, files: dict[str, str], expected: float) -> None:
    assert quota(*tree(tmp_path, files)) == expected


def test_available_is_at_least_one(tmp_path: Path) -> None:
    assert available(*tree(tmp_path, {"proc": "0::/\n", "cgroup/cpu.max": "10000 100000\n"})) == 1
    assert available(tmp_path / "none", tmp_path / "none") >= 1


MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc": "0::/\n", "cgroup/memory.max": "max\n"}, None),
        ({"proc": "0::/\n", "cgroup/memory.max": "700000000\n"}, 700_000_000),
        (
            {"proc": "0::/a/b\n", "cgroup/a/memory.max": "500000000", "cgroup/a/b/memory.max": "max"},
            500_000_000,
        ),
        ({"proc": "0::/a/b\n", "cgroup/a/memory.max": "max", "cgroup/a/b/memory.max": "1000"}, 1000),
        ({"proc": "0::/host/path\n", "cgroup/memory.max": "600000000"}, 600_000_000),
        (
            {
                "proc": "9:name=systemd:/\n4:memory:/docker/x\n0::/\n",
                "cgroup/memory/docker/x/memory.limit_in_bytes": "800000000\n",
                "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            800_000_000,
        ),
        ({"proc": "4:memory:/m\n", "cgroup/memory/memory.limit_in_bytes": "900000000"}, 900_000_000),
        ({"proc": "4:memory:/m\n", "cgroup/memory/m/memory.limit_in_bytes": "9223372036854771712"}, None),
        ({"proc": "4:memory:/m\n", "cgroup/memory/m/memory.limit_in_bytes": "-1"}, None),
        ({"proc": "4:cpu:/m\n", "cgroup/memory/m/memory.limit_in_bytes": "7"}, None),
    ],
)
def test_memory(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    """None: no limit, so the machine's memory."""
    assert memory(*tree(tmp_path, files)) == (MACHINE if expected is None else expected)


def test_memory_of_this_process() -> None:
    assert 0 < memory() <= MACHINE
