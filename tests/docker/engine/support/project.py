"""A project of docker-compose.yml that runs on an engine for the time of a test, with a name and ports of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.docker.engine.support.engine import Engine
from tests.docker.tools import free_port
from tests.paths import ROOT
from tests.service.support import wait_for

PATIENCE = 300.0  # seconds for what takes 10 on a machine that has nothing else to do


@dataclass(frozen=True)
class Project:
    """The project's containers. `variables` are what a user has in the shell or in .env."""

    engine: Engine
    variables: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.variables["COMPOSE_PROJECT_NAME"]

    @property
    def url(self) -> str:
        """The address of the service, or of the proxy before it."""
        return f"http://127.0.0.1:{self.variables['POINTREND_PORT']}"

    @property
    def prometheus(self) -> str:
        return f"http://127.0.0.1:{self.variables['PROMETHEUS_PORT']}"

    def compose(self, *arguments: str, seconds: float = 600, **variables: str) -> str:
        """Run a command of Compose as a user would."""
        return self.engine.docker("compose", *arguments, seconds=seconds, **{**self.variables, **variables})

    def up(self, *services: str, options: Sequence[str] = ()) -> None:
        """Start services and wait until they are healthy. Compose's own `--wait` gives up on a busy machine."""
        for service in services:
            self.compose("up", "--detach", "--no-build", *options, service)
            wait_for(partial(self._are_healthy, service), PATIENCE)

    def _are_healthy(self, service: str) -> bool:
        return all(self.is_healthy(each) for each in self.containers(service))

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers."""
        return self.compose("ps", "--all", "--quiet", service).split()

    def container(self, service: str) -> str:
        """Return the id of the one container of a service."""
        (found,) = self.containers(service)
        return found

    def state(self, container: str) -> dict[str, Any]:
        """Return the engine's record of a container's process, with `RestartCount`."""
        found = self.engine.inspect(container)
        return {**found["State"], "RestartCount": found["RestartCount"]}

    def is_healthy(self, container: str) -> bool:
        """Return whether a container runs, and its health check, if it has one, says that it is well."""
        state = self.state(container)
        return bool(state["Running"]) and state.get("Health", {}).get("Status", "healthy") == "healthy"

    def wait_until_healthy(self, *containers: str) -> None:
        wait_for(lambda: all(self.is_healthy(each) for each in containers), PATIENCE)

    def run_in(self, container: str, *command: str) -> str:
        """Run a command inside a container, as its user."""
        return self.engine.docker("exec", container, *command)

    def log(self, container: str) -> str:
        """Return all that a container has printed."""
        done = self.engine.attempt("logs", container)
        return done.stdout + done.stderr

    def kill_process(self, container: str) -> None:
        """End the service's process from within; the engine does not restart what it has killed itself."""
        self.run_in(container, "sh", "-c", "kill -KILL $(cat /proc/1/task/1/children)")


@contextmanager
def project(engine: Engine, image: str, profile: str, *files: Path, **variables: str) -> Iterator[Project]:
    """Give a project, not yet started, and remove all of it at the end. `files` are read after docker-compose.yml."""
    ports = {name: str(free_port()) for name in ("POINTREND_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")}
    found = Project(
        engine,
        {
            "COMPOSE_PROJECT_NAME": f"pointrend-test-{os.getpid()}-{ports['POINTREND_PORT']}",
            "COMPOSE_PROFILES": profile,
            "COMPOSE_FILE": ":".join(map(str, (ROOT / "docker-compose.yml", *files))),
            "IMAGE": image,
            **ports,
            **variables,
        },
    )
    try:
        yield found
    finally:
        _remove(found)


def _remove(project: Project) -> None:
    """Remove containers, networks and volumes, also of what hangs or was left half done."""
    listed = ("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project.name}")
    try:
        if paused := project.engine.docker(*listed, "--filter", "status=paused").split():
            project.engine.docker("unpause", *paused)
        if left := project.engine.docker(*listed).split():
            project.engine.docker("rm", "--force", "--volumes", *left)
    finally:
        project.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "1")


def rollout(project: Project, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run docker/rollout.sh as a user would."""
    return subprocess.run(
        [str(ROOT / "docker/rollout.sh"), *arguments],
        env={**project.engine.environment, **project.variables, **variables},
        capture_output=True,
        text=True,
        timeout=900,
    )
