"""docker/k8s/deployment.yaml's pod as a container: what the kubelet makes of its fields, as options of `docker run`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.docker.engine.support.engine import Engine
from tests.docker.tools import DOCKER, free_port


def deployment() -> dict[str, Any]:
    """Return the pod's specification, as the manifest has it."""
    documents = yaml.safe_load_all((DOCKER / "k8s/deployment.yaml").read_text())
    (found,) = (each for each in documents if each["kind"] == "Deployment")
    return dict(found["spec"]["template"]["spec"])


@dataclass(frozen=True)
class Pod:
    engine: Engine
    container: str
    url: str

    def execute(self, *command: str) -> str:
        """Run a command inside, as the kubelet does with a hook."""
        return self.engine.docker("exec", self.container, *command)

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.engine.inspect(self.container)["State"])


def options(spec: Mapping[str, Any], secret: Path) -> list[str]:
    """Return the options of `docker run` for the pod. Its Secret is a folder of this machine."""
    (container,) = spec["containers"]
    of_pod, own, limits = (
        spec["securityContext"],
        container["securityContext"],
        container["resources"]["limits"],
    )
    assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
    found = ["--read-only", "--security-opt", "no-new-privileges"]
    found += [
        "--user",
        f"{of_pod['runAsUser']}:{of_pod['runAsGroup']}",
        "--group-add",
        str(of_pod["fsGroup"]),
    ]
    found += [f"--cap-drop={name}" for name in own["capabilities"]["drop"]]
    found += ["--cpus", limits["cpu"], "--memory", limits["memory"].replace("Gi", "g")]
    found += [f"--env={each['name']}={each['value']}" for each in container["env"]]
    for mount in container["volumeMounts"]:
        (volume,) = (each for each in spec["volumes"] if each["name"] == mount["name"])
        if "emptyDir" in volume:
            found += ["--tmpfs", f"{mount['mountPath']}:mode=1777"]
        else:
            assert volume["secret"]["secretName"] == "pointrend-api-keys"
            found += ["--volume", f"{secret}:{mount['mountPath']}:ro"]
    return found


def write_secret(folder: Path, name: str, text: str) -> None:
    """Write a Secret's file as the kubelet does: all files change at once, when a link is replaced."""
    version = folder / f"..v{len(list(folder.glob('..v*')))}"
    version.mkdir()
    (version / name).write_text(text)
    link = folder / "..data_tmp"
    link.symlink_to(version.name)
    os.replace(link, folder / "..data")
    if not (folder / name).is_symlink():
        (folder / name).symlink_to(f"..data/{name}")


@contextmanager
def pod(engine: Engine, image: str, secret: Path) -> Iterator[Pod]:
    """Start the pod, and remove it at the end."""
    port = free_port()
    run = ("run", "--detach", "--publish", f"127.0.0.1:{port}:8000", *options(deployment(), secret), image)
    container = engine.docker(*run)
    try:
        yield Pod(engine, container, f"http://127.0.0.1:{port}")
    finally:
        engine.docker("rm", "--force", "--volumes", container)
