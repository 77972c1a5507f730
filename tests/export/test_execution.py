"""Where and how precisely a model runs: what is asked for, what the machine has, and what is said about it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from export import execution
from export.execution import Execution, choose_execution, has_bf16, has_openvino
from model.errors import UserError
from tests.paths import ROOT

WITH = "processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16\n"
WITHOUT = "processor\t: 0\nmodel name\t: bf16 in a name says nothing\nflags\t\t: fpu avx2\n"


def cpuinfo(folder: Path, text: str) -> Path:
    (folder / "cpuinfo").write_text(text)
    return folder / "cpuinfo"


def no_gpu() -> str:
    raise UserError("PyTorch finds no GPU")


def test_auto_takes_a_gpu_that_works_and_says_which() -> None:
    found = choose_execution(gpu=lambda: "A GPU of 80 GB")
    assert (found.device, found.precision, found.head_precision) == ("cuda", "fp32", "fp32")
    assert found.notes == ("device cuda: A GPU of 80 GB",)


def test_auto_takes_the_cpu_and_says_why() -> None:
    found = choose_execution(precision="fp32", gpu=no_gpu)
    assert found == Execution(notes=("device cpu: PyTorch finds no GPU",))


@pytest.mark.parametrize(
    ("asked", "text", "expected", "note"),
    [
        ("auto", WITH, ("bf16", "bf16"), "the coarse pass by OpenVINO"),
        ("bf16", WITH, ("bf16", "bf16"), "the coarse pass by OpenVINO"),
        ("auto", WITHOUT, ("fp32", "fp32"), "no instructions for bf16"),
    ],
)
def test_precision_is_what_the_machine_has(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: Literal["auto", "bf16"],
    text: str,
    expected: tuple[str, str],
    note: str,
) -> None:
    monkeypatch.setattr(execution, "has_openvino", lambda: True)
    found = choose_execution("cpu", asked, cpuinfo=cpuinfo(tmp_path, text))
    assert (found.precision, found.head_precision) == expected
    assert len(found.notes) == 1 and note in found.notes[0]


def test_bf16_that_is_asked_for_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "has_openvino", lambda: False)
    with pytest.raises(UserError, match="pip install openvino"):
        choose_execution("cpu", "bf16", cpuinfo=cpuinfo(tmp_path, WITH))
    found = choose_execution("cpu", "bf16", cpuinfo=cpuinfo(tmp_path, WITHOUT))
    assert found.precision == "fp32" and "no instructions" in found.notes[0]


def test_auto_takes_bf16_for_what_can_run_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "has_openvino", lambda: False)
    found = choose_execution("cpu", "auto", cpuinfo=cpuinfo(tmp_path, WITH))
    assert (found.precision, found.head_precision) == ("fp32", "bf16")
    assert "OpenVINO (extra `bf16`) is not installed" in found.notes[0]


def test_the_flags_of_the_processor_are_read(tmp_path: Path) -> None:
    assert has_bf16(cpuinfo(tmp_path, WITH)) and not has_bf16(cpuinfo(tmp_path, WITHOUT))
    assert has_bf16(cpuinfo(tmp_path, "Features\t: fp asimd bf16\n"))
    assert not has_bf16(tmp_path / "none")


def test_openvino_sends_nothing(tmp_path: Path) -> None:
    """Its telemetry sends an event with the import, but where CI is set, and writes an id into the home folder."""
    if not has_openvino():
        pytest.skip("OpenVINO is not installed (extra `bf16`)")
    code = (
        "from export.execution import import_openvino; import_openvino()\n"
        "from openvino.tools.ovc import telemetry_utils; print(telemetry_utils.tm.__name__)"
    )
    variables = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "openvino.tools.ovc.telemetry_stub\n", done.stderr
    assert list(tmp_path.iterdir()) == []
