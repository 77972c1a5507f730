"""A real Label Studio, in an environment of its own, with SQLite in a temporary folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from filelock import FileLock

from tests.docker.tools import beside_python, succeeds
from tests.paths import ROOT
from tests.service.support import wait_for

VERSION = "1.23.2"
PROGRAM = "LABEL_STUDIO_PROGRAM"  # a variable with the path of one that is installed already
START = 600.0  # seconds; its first start makes the tables of its database
EMAIL, PASSWORD, LEGACY = "annotator@studio.example", "only-for-tests", "0123456789abcdef" * 2 + "01234567"
# It would not call a backend on this machine, and would ask other hosts for news.
SETTINGS = {
    "ML_BLOCK_LOCAL_IP": "false",
    "SSRF_PROTECTION_ENABLED": "false",
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
}


@dataclass(frozen=True)
class RunningStudio:
    url: str
    personal: str  # a personal access token

    def client(self) -> httpx.Client:
        """Return a client that may do everything."""
        headers = {"authorization": f"Token {LEGACY}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=120, trust_env=False)


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """Return a Label Studio with one user."""
    with _serving(_program(), tmp_path_factory.mktemp("studio")) as url:
        with RunningStudio(url, "").client() as client:
            made = json_of(client.post("/api/token/"))
        yield RunningStudio(url, made["token"])


def _program() -> Path:
    """Return the program. It is installed once, below out/, unless a variable names another one."""
    if given := os.environ.get(PROGRAM):
        return Path(given)
    folder = ROOT / "out" / "tools" / f"label-studio-{VERSION}"
    program, uv = folder / "bin" / "label-studio", beside_python("uv")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not program.exists():
            if uv is None:
                pytest.skip(f"{PROGRAM} is not set, and there is no uv to install Label Studio with")
            installing = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
            for command in (
                [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
                [*installing, f"label-studio=={VERSION}"],
            ):
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    shutil.rmtree(folder, ignore_errors=True)
                    pytest.skip(f"Label Studio cannot be installed: {done.stderr.strip()[-300:]}")
    return program


@contextmanager
def _serving(program: Path, folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}", folder / "log"
    user = ["--username", EMAIL, "--password", PASSWORD, "--user-token", LEGACY, "--enable-legacy-api-token"]
    where = ["--internal-host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder / "data")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POINTREND_")}
    with log.open("wb") as output:
        server = subprocess.Popen(
            [str(program), "start", "--no-browser", *where, *user],
            env=environment | SETTINGS,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: server.poll() is not None or succeeds(f"{url}/health"), START, pause=0.5)
        assert server.poll() is None, log.read_text()[-2000:]
        yield url
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def json_of(answer: httpx.Response) -> Any:
    """Return what was answered. Fail with the text if that is a refusal."""
    assert answer.is_success, f"{answer.status_code}: {answer.text[:500]}"
    return answer.json()
