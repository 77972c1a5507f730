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

COMMANDS = (
    "help",
    "setup",
    "demo",
    "serve",
    "test",
    "test-engine",
    "test-tools",
    "test-slow",
    "bench",
    "figures",
    "check",
    "clean",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two shipped models, an environment that is installed, and bundles of both."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for folder in ("model/weights", "export", ".venv/bin", "docker"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "docker/torch_builds.sh", tmp_path / "docker")
    for name in ("people", "street"):
        (tmp_path / f"model/weights/{name}.safetensors").write_text(f"weights of {name}")
    for name in ("pyproject.toml", ".venv/.installed"):
        (tmp_path / name).touch()
    script(tmp_path / ".venv/bin/python", 'echo "run: $@"')
    for name in ("people", "street"):
        bundle(tmp_path, name, f"{name}.safetensors", f"weights of {name}")
    return tmp_path


def script(path: Path, text: str) -> None:
    """Write a script that stands in for a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def bundle(project: Path, name: str, checkpoint: str, weights: str) -> None:
    """Write a manifest that is newer than everything else."""
    source = {"checkpoint": checkpoint, "sha256": hashlib.sha256(weights.encode()).hexdigest()}
    folder = project / "bundles" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundle.json").write_text(json.dumps({"source": source}, indent=1))


def run_make(project: Path, *arguments: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    """Run make with programs from these folders alone."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("PORT", "HOST", "MAKEFLAGS")
    }
    return subprocess.run(
        ["make", "-s", f"PYTHON={sys.executable}", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        env=environment | {"PATH": path},
        timeout=60,
    )


def make(project: Path, *arguments: str) -> list[str]:
    """Return what is run."""
    done = run_make(project, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_without_a_command_it_lists_them(project: Path) -> None:
    said = make(project)
    assert [line.split()[0] for line in said[1:]] == list(COMMANDS)
    assert said == make(project, "help")


INSTALLED = "uv: pip install --quiet --python .venv/bin/python"


def set_up(project: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Run make with an environment that is older than the requirements; a script makes a new one."""
    (project / ".venv/.installed").unlink()
    script(project / "python", f'[ "$1" = -m ] && echo "venv: $@" || exec {sys.executable} "$@"')
    return run_make(project, ".venv/.installed", f"PYTHON={project / 'python'}", path=path)


def test_the_environment_is_installed_by_the_uv_that_is_there(project: Path) -> None:
    script(project / "tools/uv", 'echo "uv: $@"')
    done = set_up(project, f"{project / 'tools'}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    venv, said, installed = done.stdout.splitlines()
    assert venv == "venv: -m venv .venv"
    assert said.startswith("installing")
    assert installed == f"{INSTALLED} --torch-backend=auto --editable .[dev]"
    assert (project / ".venv/.installed").exists()


def test_without_pytorch_s_own_index_one_line_says_what_that_costs(project: Path) -> None:
    script(
        project / "tools/uv",
        '[ "$2" = install ] && echo "uv: $@" || { echo "  cause: no such host" >&2; exit 2; }',
    )
    done = set_up(project, f"{project / 'tools'}:/usr/bin:/bin")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == f"{INSTALLED} --editable .[dev]"
    assert done.stderr.count("\n") == 1
    assert "(no such host)" in done.stderr and "3 GB" in done.stderr


def test_without_uv_it_is_installed_into_the_environment(project: Path) -> None:
    script(
        project / ".venv/bin/python",
        """echo "run: $@"; printf '#!/bin/sh\\necho "uv: $@"' >.venv/bin/uv; chmod +x .venv/bin/uv""",
    )
    done = set_up(project, "/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "run: -m pip install -qq --retries 1 uv"
    assert done.stdout.splitlines()[-1] == f"{INSTALLED} --torch-backend=auto --editable .[dev]"


def test_without_uv_and_index_the_last_line_says_so(project: Path) -> None:
    script(project / ".venv/bin/python", "exit 1")
    done = set_up(project, "/usr/bin:/bin")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("setup: there is no uv on the PATH, and pip cannot")
    assert not (project / ".venv/.installed").exists()


def test_packages_that_cannot_be_installed_are_no_environment(project: Path) -> None:
    script(project / "tools/uv", "exit 1")
    done = set_up(project, f"{project / 'tools'}:/usr/bin:/bin")
    assert done.returncode == 2
    assert "setup: packages could not be installed" in done.stderr
    assert not (project / ".venv/.installed").exists()


def test_bundles_of_the_shipped_weights_are_left_alone(project: Path) -> None:
    assert make(project, "setup") == []


def test_a_missing_bundle_is_exported(project: Path) -> None:
    (project / "bundles/street/bundle.json").unlink()
    assert make(project, "setup") == [
        "run: -m export --checkpoint model/weights/street.safetensors --out bundles/street"
    ]


def test_all_missing_bundles_are_exported(project: Path) -> None:
    for name in ("people", "street"):
        (project / f"bundles/{name}/bundle.json").unlink()
    assert sorted(make(project, "setup")) == [
        f"run: -m export --checkpoint model/weights/{name}.safetensors --out bundles/{name}"
        for name in ("people", "street")
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
