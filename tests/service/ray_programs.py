"""The locked Ray in an environment of its own that sees this one's packages, and processes that end with a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docker.tools import beside_python, run
from tests.paths import ROOT

LOCKED = ROOT / "docker/requirements/ray.txt"
# Ray gives up a host that has not started after 30 s, which a busy machine needs, and leaves processes that hold ports.
START = """
until ray start --head --include-dashboard=false --object-store-memory=100000000 {options} >&2
do ray stop --force >&2 || true; done
"""


def install(folder: Path) -> Path:
    """Return the folder of the programs `ray` and `serve`. Skip the test where they cannot be installed."""
    uv = beside_python("uv")
    if uv is None or shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip(
            "Ray is installed by uv and run in namespaces of its own: needs Linux, util-linux, iproute2"
        )
    run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    python = folder / "bin/python"
    done = subprocess.run(
        [uv, "pip", "install", "--python", str(python), "--no-deps", "--require-hashes", "-r", str(LOCKED)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"uv cannot install Ray: {done.stderr.strip().splitlines()[-1]}")
    (site,) = folder.glob("lib/python*/site-packages")
    # Its own packages come first: they are the locked ones.
    (site / "tests.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return folder / "bin"


def environment(programs: Path) -> Mapping[str, str]:
    """Return the environment of Ray's programs: without the shell's settings, with the middleware of the proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("POINTREND_", "RAY_"))}
    return {
        **kept,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(programs.parent),  # Ray writes a token there
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "service.ray_proxy:middlewares",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # Ray's 15 would starve the replicas if anything else runs
    }


def namespaces(*more: str) -> list[str]:
    """Return the beginning of a command whose processes all end with it."""
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *more]
    return command if os.geteuid() == 0 else [*command, "--map-root-user"]


@contextmanager
def shell(script: str, programs: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script of bash, and at the end kill all that it has started."""
    with log.open("wb") as file:
        command = [*namespaces(), "bash", "-ec", script]
        process = subprocess.Popen(
            command, cwd=ROOT, env=dict(environment(programs)), stdout=file, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def inside(process: subprocess.Popen[bytes], title: str) -> list[int]:
    """Return the ids of the processes in the shell's namespace whose title begins like this."""
    first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
    namespace = os.readlink(f"/proc/{first}/ns/pid")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title_fits = (folder / "cmdline").read_text().startswith(title)
            if title_fits and os.readlink(folder / "ns/pid") == namespace:
                found.append(int(folder.name))
        except OSError:  # ended meanwhile
            continue
    return found
