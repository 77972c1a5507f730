"""The thread budget under quotas of both kinds of cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.machine import available, quota


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
