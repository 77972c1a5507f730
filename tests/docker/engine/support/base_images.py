"""The public images that the project builds on: here already, pulled, or made from Debian's packages."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.docker.engine.support.engine import Engine
from tests.docker.tools import DOCKER
from tests.paths import ROOT

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SOURCES = ("/etc/apt/sources.list", *map(str, Path("/etc/apt/sources.list.d").glob("*")))
DEBIAN = "pointrend-stand-in:debian"


class NoBaseImagesError(Exception):
    """Says why images can neither be pulled nor made."""


def base_images() -> dict[str, str]:
    """Return the names of the images, by what they are: python, prometheus, haproxy, grafana."""
    (python,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (DOCKER / "Dockerfile").read_text(), re.M)
    compose = (ROOT / "docker-compose.yml").read_text()
    (prometheus,) = re.findall(r"image: (prom/prometheus:\S+)", compose)
    (haproxy,) = re.findall(r"image: (haproxy:\S+)", compose)
    (grafana,) = re.findall(r"image: (grafana/grafana:\S+)", compose)
    return {"python": python, "prometheus": prometheus, "haproxy": haproxy, "grafana": grafana}


def fetch_base_images(engine: Engine, folder: Path) -> list[str]:
    """Pull or make what is not there, and return the names of what was made. Raises NoBaseImagesError."""
    missing = {kind: name for kind, name in base_images().items() if not engine.has(name)}
    for kind, name in list(missing.items()):
        try:
            pulled = engine.attempt("pull", "--quiet", name, seconds=180)
        except subprocess.TimeoutExpired:
            break  # so would the others
        if pulled.returncode:
            break
        del missing[kind]
    if not missing:
        return []
    _debootstrap(engine, folder)
    shutil.copy(CERTIFICATES, folder)  # whatever this machine trusts
    shutil.copy(Path(__file__).with_name("stand_ins.Dockerfile"), folder / "Dockerfile")
    for kind, name in missing.items():
        build = ("build", "--tag", name, "--target", kind, "--build-arg", f"DEBIAN={DEBIAN}", str(folder))
        made = engine.attempt(*build, seconds=900, **_builder(engine))
        if made.returncode:
            raise NoBaseImagesError(f"a stand-in for {name} cannot be built: {_last(made.stderr)}")
    return [*missing.values(), DEBIAN]


def without_packages(engine: Engine) -> str:
    """Return why a container cannot fetch a package, so that no image can be built; "" if it can."""
    pip = ("python", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "/tmp")
    pinned = ("--require-hashes", "--requirement", "/uv.txt")
    requirements = f"{DOCKER}/requirements/uv.txt:/uv.txt:ro"
    done = engine.attempt("run", "--rm", "--volume", requirements, base_images()["python"], *pip, *pinned)
    return f"containers cannot fetch packages: {_last(done.stderr)}" if done.returncode else ""


def _builder(engine: Engine) -> dict[str, str]:
    """Choose Docker's older builder where the plugin of the newer one is missing."""
    return {} if engine.attempt("buildx", "version").returncode == 0 else {"DOCKER_BUILDKIT": "0"}


def _debootstrap(engine: Engine, folder: Path) -> None:
    """Import Debian 13 as an image."""
    if engine.has(DEBIAN):
        return
    program = shutil.which("debootstrap", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        raise NoBaseImagesError("they cannot be pulled, and there is no debootstrap to make stand-ins")
    if not CERTIFICATES.exists():
        raise NoBaseImagesError(f"they cannot be pulled, and stand-ins need {CERTIFICATES}")
    root, archive = folder / "root", folder / "root.tar"
    made = subprocess.run(
        [program, "--variant=minbase", "--include=ca-certificates", "trixie", str(root), _mirror()],
        capture_output=True,
        text=True,
        timeout=900,
    )
    if made.returncode:
        raise NoBaseImagesError(f"they cannot be pulled, and debootstrap fails: {_last(made.stdout)}")
    subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True, timeout=300)
    shutil.rmtree(root)
    engine.docker("import", str(archive), DEBIAN)
    archive.unlink()


def _mirror() -> str:
    """Return the address from which this machine has its Debian packages. Raise NoBaseImagesError if none is named."""
    texts = [Path(each).read_text(errors="replace") for each in SOURCES if Path(each).is_file()]
    found = re.findall(r"^(?:URIs:|deb(?: \[.*\])?) *(https?://\S+/debian)/?\s", "\n".join(texts), re.M)
    if not found:
        raise NoBaseImagesError(
            f"they cannot be pulled, and {' and '.join(map(str, SOURCES))} name no Debian mirror"
        )
    return str(found[0])


def _last(text: str) -> str:
    return (text.strip() or "it says nothing").splitlines()[-1]
