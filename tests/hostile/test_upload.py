"""Forms that were made to break their reader."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.hostile.upload_property import BEGIN, BOXES, CASES, IMAGE, check
from tests.paths import ROOT

# Pieces of forms, which random bytes would hardly ever be.
PIECES = st.sampled_from(
    [
        *(IMAGE, BOXES, b"\r\n--x", b"--x", b"--", b"\r\n", b"\r", b"\n", b" ", b"\t", b"x", b"\r\n\r\n"),
        *(
            b'name="image"',
            b"; ",
            b"filename=",
            b'"',
            b"\\",
            b"=",
            b":",
            b"Content-Disposition: ",
            b"a" * 2050,
        ),
    ]
)


@pytest.mark.parametrize("data", CASES)
def test_known_cases(data: bytes) -> None:
    for step in (1, 7, 65_535):
        check(step.to_bytes(2, "little") + data[2:])


@given(st.integers(1, 65_535), st.lists(PIECES | st.binary(max_size=20), max_size=30))
@example(1, [])
def test_any_form_is_read_or_refused(step: int, pieces: list[bytes]) -> None:
    check(step.to_bytes(2, "little") + BEGIN + b"x\n" + b"".join(pieces))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
def test_a_fuzzer_finds_nothing(tmp_path: Path) -> None:
    for number, case in enumerate(CASES):
        (tmp_path / str(number)).write_bytes(case)
    options = ["-max_total_time=45", "-max_len=20000", f"-artifact_prefix={tmp_path}/", "-seed=1"]
    command = [sys.executable, "-m", "tests.hostile.fuzz_upload", str(tmp_path), *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-3000:]
