"""Programs that check the files of docker/."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

DOCKER = ROOT / "docker"


def tool(name: str, comes_from: str) -> str:
    """Its path, beside this Python or on the PATH; without it the test is skipped, but on CI it fails."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    found = shutil.which(name, path=places)
    if found is None:
        assert not os.environ.get("CI"), f".ci/run must install {name}"
        pytest.skip(f"{name} ({comes_from}) is not installed")
    return found


def run(*command: str, cwd: Path = ROOT, **environment: str) -> str:
    """Its output; fails with all that it said."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env=os.environ | environment, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
