"""What containers may do, and whether the service knows what it may take."""

from __future__ import annotations

import re

import httpx
import pytest

from service.budgets import plan
from service.settings import Settings
from tests.docker.engine.support.project import Project

SERVICES = ("pointrend", "prometheus")


@pytest.mark.parametrize("service", SERVICES)
def test_processes_have_no_rights(single: Project, service: str) -> None:
    status = single.run_in(single.container(service), "cat", "/proc/1/status")
    facts = dict(re.findall(r"^(\w+):\s*(.+)$", status, re.M))
    assert facts["Uid"].split()[0] != "0"
    if service == "pointrend":
        assert set(facts["Uid"].split()) == set(facts["Gid"].split()) == {"10001"}
    for kind in ("CapEff", "CapPrm", "CapBnd", "CapInh"):
        assert int(facts[kind], 16) == 0, kind
    assert facts["NoNewPrivs"] == "1"


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("place", ["/file", "/app/file", "/etc/file", "/usr/bin/file"])
def test_the_file_system_is_read_only(single: Project, service: str, place: str) -> None:
    mounts = single.run_in(single.container(service), "cat", "/proc/mounts")
    (root,) = (line.split()[3] for line in mounts.splitlines() if line.split()[1] == "/")
    assert "ro" in root.split(",")
    done = single.engine.attempt("exec", "--user", "0", single.container(service), "touch", place)
    assert done.returncode != 0


def test_what_is_written_into_tmp_cannot_be_run(single: Project) -> None:
    mounts = single.run_in(single.container("pointrend"), "cat", "/proc/mounts")
    (tmp,) = (line.split()[3] for line in mounts.splitlines() if line.split()[1] == "/tmp")
    assert {"rw", "noexec", "nosuid", "nodev"} <= set(tmp.split(","))


def test_the_service_counts_the_cores_and_the_memory_of_its_container(single: Project) -> None:
    limits = single.engine.inspect(single.container("pointrend"))["HostConfig"]
    assert (limits["NanoCpus"], limits["Memory"]) == (1_000_000_000, 3 << 30)
    expected = plan(Settings(), 3 << 30)
    metrics = httpx.get(f"{single.url}/metrics", timeout=60).text
    assert re.search(r"^pointrend_threads 1(\.0)?$", metrics, re.M)
    found = dict(re.findall(r'^pointrend_budget_bytes\{budget="(\w+)"\} (\S+)$', metrics, re.M))
    for budget in ("held", "decode", "render", "encode"):
        assert float(found[budget]) == getattr(expected, budget), budget
