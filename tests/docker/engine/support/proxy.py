"""What the proxy of the profile `scale` knows of its replicas."""

from __future__ import annotations

from tests.docker.engine.support.project import PATIENCE, Project
from tests.service.support import wait_for

RUNNING = "2"  # the state of a server that takes requests


def address(project: Project, container: str) -> str:
    """Return the address of a container in the project's network, "" if it is in none."""
    networks = project.engine.inspect(container)["NetworkSettings"]["Networks"]
    return "".join(each["IPAddress"] for each in networks.values())


def taking_requests(project: Project) -> set[str]:
    """Return the addresses to which the proxy gives requests."""
    ask = "echo 'show servers state replicas' | busybox nc 127.0.0.1 9999"
    lines = project.run_in(project.container("proxy"), "sh", "-c", ask).splitlines()
    rows = [line.split() for line in lines if line[:1].isdigit() and " " in line]
    return {row[4] for row in rows if row[5] == RUNNING and row[6] == "0"}


def wait_for_replicas(project: Project, count: int) -> None:
    """Wait until so many replicas are there and healthy, and the proxy gives requests to just these."""
    wait_for(lambda: len(project.containers("replica")) == count, PATIENCE)
    project.wait_until_healthy(*project.containers("replica"))
    wait_for_proxy(project, *project.containers("replica"))


def wait_for_proxy(project: Project, *containers: str) -> None:
    """Wait until the proxy gives requests to just these containers."""
    wait_for(lambda: taking_requests(project) == {address(project, each) for each in containers}, PATIENCE)
