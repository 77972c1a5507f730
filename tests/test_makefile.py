"""The Makefile, in a folder of its own where a script stands in for Python: what would be run, and when."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

COMMANDS = ("help", "setup", "demo", "serve", "test", "test-slow", "bench", "check", "clean")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two shipped models, an environment that is installed, and bundles of both."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for folder in ("model/weights", "export", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("people", "street"):
        (tmp_path / f"model/weights/{name}.safetensors").write_text(f"weights of {name}")
    for name in ("pyproject.toml", ".venv/.installed"):
        (tmp_path / name).touch()
    python = tmp_path / ".venv/bin/python"
    python.write_text('#!/bin/sh\necho "run: $@"\n')
    python.chmod(0o755)
    for name in ("people", "street"):
        bundle(tmp_path, name, f"{name}.safetensors", f"weights of {name}")
    return tmp_path


def bundle(project: Path, name: str, checkpoint: str, weights: str) -> None:
    """Write a manifest that is newer than everything else."""
    source = {"checkpoint": checkpoint, "sha256": hashlib.sha256(weights.encode()).hexdigest()}
    folder = project / "bundles" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundle.json").write_text(json.dumps({"source": source}, indent=1))


def make(project: Path, *arguments: str) -> list[str]:
    """Return what is run."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("PORT", "HOST", "MAKEFLAGS")
    }
    done = subprocess.run(
        ["make", "-s", f"PYTHON={sys.executable}", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_without_a_command_it_lists_them(project: Path) -> None:
    said = make(project)
    assert [line.split()[0] for line in said[1:]] == list(COMMANDS)
    assert said == make(project, "help")


def test_bundles_of_the_shipped_weights_are_left_alone(project: Path) -> None:
    assert make(project, "setup") == []


def test_a_missing_bundle_is_exported(project: Path) -> None:
    (project / "bundles/street/bundle.json").unlink()
    assert make(project, "setup") == [
        "run: -m export --checkpoint model/weights/street.safetensors --out bundles/street"
    ]


def test_new_weights_of_the_same_name_replace_their_bundle_whatever_the_files_times_are(
    project: Path,
) -> None:
    bundle(project, "street", "street.safetensors", "older weights")
    assert make(project, "setup") == [
        "run: -m export --checkpoint model/weights/street.safetensors --out bundles/street --replace"
    ]


def test_somebody_s_own_bundle_of_that_name_is_not_taken_for_it_and_not_replaced(project: Path) -> None:
    """Without --replace the exporter refuses."""
    bundle(project, "street", "model.safetensors", "own weights")
    assert make(project, "setup") == [
        "run: -m export --checkpoint model/weights/street.safetensors --out bundles/street"
    ]


def test_serve_has_a_port_and_a_host(project: Path) -> None:
    command = "run: -m service serve --bundle bundles/people --bundle bundles/street"
    assert make(project, "serve") == [command]
    assert make(project, "serve", "PORT=9000") == [f"{command} --port 9000"]
    assert make(project, "serve", "HOST=0.0.0.0", "PORT=1") == [f"{command} --host 0.0.0.0 --port 1"]


def test_clean_leaves_own_bundles(project: Path) -> None:
    bundle(project, "mine", "model.safetensors", "own weights")
    make(project, "clean")
    assert [path.name for path in (project / "bundles").iterdir()] == ["mine"]
