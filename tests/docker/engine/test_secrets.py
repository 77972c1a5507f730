"""API keys of a file: mounted as a secret, and seen nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from pointrend_client import Client
from tests.docker.engine.support.engine import Engine
from tests.docker.engine.support.load import JPEG, PHOTO
from tests.docker.engine.support.project import PATIENCE, project
from tests.service.support import wait_for

KEYS = ("correct-horse-battery-staple", "another-key")


@pytest.fixture
def file_of_keys(tmp_path: Path) -> Path:
    file = tmp_path / "api_keys"
    file.write_text("\n".join(KEYS) + "\n")
    file.chmod(0o644)
    return file


def test_keys_are_a_secret_that_the_service_reads(engine: Engine, image: str, file_of_keys: Path) -> None:
    with project(engine, image, "cpu", POINTREND_API_KEYS_FILE=str(file_of_keys)) as found:
        found.up("pointrend")
        answer = httpx.post(f"{found.url}/segment", content=PHOTO, headers=JPEG, timeout=PATIENCE)
        assert answer.status_code == 401
        assert "key" in answer.json()["detail"]
        for key in KEYS:
            with Client(found.url, api_key=key, timeout=PATIENCE) as client:
                assert client.segment(PHOTO, resolution=28).instances

        container = found.container("pointrend")
        told = (
            json.dumps(engine.inspect(container)),
            json.dumps(engine.inspect(image)),
            found.compose("config"),
            found.log(container),
            found.run_in(container, "cat", "/proc/1/environ"),
            found.run_in(container, "env"),
            engine.docker("top", container),
        )
        assert not [text for text in told if any(key in text for key in KEYS)]
        assert found.run_in(container, "cat", "/run/secrets/api_keys").split() == list(KEYS)
        done = engine.attempt("exec", "--user", "0", container, "sh", "-c", "echo x >> /run/secrets/api_keys")
        assert done.returncode != 0


@pytest.mark.slow
def test_a_file_that_the_service_may_not_read_is_named_in_one_line(
    engine: Engine, image: str, file_of_keys: Path
) -> None:
    file_of_keys.chmod(0o600)
    with project(engine, image, "cpu", POINTREND_API_KEYS_FILE=str(file_of_keys)) as found:
        found.compose("up", "--detach", "--no-build", "pointrend")
        container = found.container("pointrend")
        wait_for(lambda: found.log(container).strip(), PATIENCE)
        line = found.log(container).splitlines()[0]
        assert "/run/secrets/api_keys" in line and "ermission denied" in line


@pytest.mark.slow
def test_without_a_file_no_key_is_needed_on_this_machine_alone(engine: Engine, image: str) -> None:
    with project(engine, image, "cpu", ADDRESS="0.0.0.0") as found:
        found.compose("up", "--detach", "--no-build", "pointrend")
        container = found.container("pointrend")
        wait_for(lambda: found.log(container).strip(), PATIENCE)
        assert "ADDRESS=0.0.0.0 lets other machines in" in found.log(container).splitlines()[0]
