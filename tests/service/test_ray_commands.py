"""The documented ways to start the service on Ray, as commands: Ray calls the builder, and no test does."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.docker.tools import COFFEE
from tests.paths import ROOT
from tests.service.ray_programs import START, environment, install, namespaces

pytestmark = pytest.mark.slow

DOCUMENTED = re.compile(r"^serve run service\.ray_app:application .*$", re.MULTILINE)
# `serve run` in the background and a request to it, in a network in which port 8000 is free.
SCRIPT = """
ip link set lo up
{start}
{command} & served=$!
until curl --silent --fail --output /dev/null http://127.0.0.1:8000/readyz; do kill -0 $served; sleep 0.2; done
curl --silent --show-error --data-binary @{picture} -H 'content-type: image/png' 'http://127.0.0.1:8000/segment?score=0.05'
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("ray") / "environment")


def documented_command(bundle: Path) -> str:
    (command,) = DOCUMENTED.findall((ROOT / "docs/scale.md").read_text())
    return str(re.sub(r"(?<=bundles=)\S+", shlex.quote(str(bundle)), command))


def command_of_file(config: str, bundle: Path, folder: Path) -> str:
    """Return the command that runs what a file tells Ray Serve, with another bundle and replicas that fit in here."""
    found = yaml.safe_load(config)
    found["applications"][0]["args"].update(bundles=str(bundle), cpus=1, max_replicas=2)
    (folder / "serve.yaml").write_text(yaml.safe_dump(found))
    return f"serve run {folder / 'serve.yaml'}"


@pytest.mark.parametrize("way", ["docs/scale.md", "docker/k8s/rayservice.yaml", "docker/ray/serve.yaml"])
def test_the_service_starts_and_answers(
    way: str, programs: Path, exported: Callable[[str], Path], tmp_path: Path
) -> None:
    bundle = exported("tiny_r50")
    text = (ROOT / way).read_text()
    if way.endswith(".md"):
        command = documented_command(bundle)
    else:
        config = yaml.safe_load(text)["spec"]["serveConfigV2"] if "rayservice" in way else text
        command = command_of_file(config, bundle, tmp_path)
    (tmp_path / "coffee.png").write_bytes(COFFEE)
    script = SCRIPT.format(
        start=START.format(options="--num-cpus=4"), command=command, picture=tmp_path / "coffee.png"
    )
    done = subprocess.run(
        [*namespaces("--net"), "bash", "-ec", script],
        cwd=ROOT,
        env=dict(environment(programs)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0 and '"instances":[{' in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]


def test_a_setting_that_does_not_exist_ends_the_command(
    programs: Path, exported: Callable[[str], Path]
) -> None:
    command = documented_command(exported("tiny_r50"))
    done = subprocess.run(
        [*namespaces("--net"), "bash", "-ec", f"ip link set lo up; {command}"],
        cwd=ROOT,
        env=dict(environment(programs)) | {"POINTREND_BUNDELS": "x"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode != 0 and "did you mean POINTREND_BUNDLES?" in done.stderr
