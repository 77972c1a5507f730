"""The blocks of README and docs that need a container engine, run as they stand there (tests/docs)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.engine.support.engine import Engine
from tests.docs.check import Record, check, of_suite, pages
from tests.docs.session import copy_project

NAME = f"pointrend-docs-{os.getpid()}"  # of what Compose makes
PORTS = (8000, 9090, 3000)  # which the pages name
MINE = ("--quiet", "--filter", f"label=com.docker.compose.project={NAME}")


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def project(engine: Engine, image: str, tmp_path: Path) -> Iterator[Path]:
    """A copy of the project. The images that its commands build have the layers of `image`."""
    if taken := [port for port in PORTS if is_taken(port)]:
        pytest.skip(f"ports that the pages name are taken: {taken}")
    made = tmp_path / "project"
    copy_project(made)
    new = [name for name in ("pointrend:cpu", "pointrend:ray") if not engine.has(name)]
    yield made
    for kind in ("container", "network", "volume"):
        every = ("--all",) if kind == "container" else ()
        if found := engine.docker(kind, "ls", *every, *MINE).split():
            engine.docker(kind, "rm", "--force", *found)
    for name in new:
        engine.attempt("image", "rm", name)


def run(page: Path, project: Path, engine: Engine, record: Record, *, slow: bool) -> None:
    known = {name: value for name, value in engine.environment.items() if name == "DOCKER_CONFIG"}
    variables = {**known, "COMPOSE_PROJECT_NAME": NAME}
    chosen = of_suite(page, slow=slow, engine=True)
    check(page, chosen, project, record, minutes=40, variables=variables)


@pytest.mark.slow
@pages(slow=False, engine=True)
def test_quick_commands(page: Path, project: Path, engine: Engine, record_property: Record) -> None:
    run(page, project, engine, record_property, slow=False)


@pytest.mark.slow
@pages(slow=True, engine=True)
def test_all_commands(page: Path, project: Path, engine: Engine, record_property: Record) -> None:
    run(page, project, engine, record_property, slow=True)
