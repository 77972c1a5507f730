"""What OpenAPI promises, tried by a machine: schemathesis against a running server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.support import Discs, disc_bundle, get, running, wait_for


@pytest.mark.slow
def test_schemathesis_finds_nothing(discs: Discs, tmp_path: Path) -> None:
    with running(disc_bundle(discs), max_body_bytes=200_000) as url:
        wait_for(lambda: get(f"{url}/readyz").is_success)
        # A deadline of a millisecond may pass, and then 504 is the documented answer.
        (tmp_path / "schemathesis.toml").write_text(
            '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", 504]\n'
        )
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
        # No schema can say which bytes are an image: good parameters with a bad one are refused, rightly.
        checks = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
        options = ["--max-examples", "200", "--seed", "1", "--no-color", *checks]
        found = subprocess.run([*command, *options], capture_output=True, text=True, cwd=tmp_path)
        assert found.returncode == 0, found.stdout[-6000:]
