"""torch and ONNX Runtime must be built for one major version of CUDA."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest

from export.bundle import open_bundle
from export.cuda import check_cuda
from export.errors import BundleError
from export.session import Execution


@pytest.mark.parametrize(("torch", "onnx"), [("13.0", "13.0"), ("13.0", "13.2"), ("12.8", "12.4")])
def test_one_major_version(torch: str, onnx: str) -> None:
    check_cuda(torch, onnx)


@pytest.mark.parametrize(
    ("torch", "onnx", "named"),
    [
        ("13.0", "12.8", "torch is built for CUDA 13.0 and onnxruntime for CUDA 12.8"),
        ("13.0", "1.3", "for CUDA 13.0 and onnxruntime for CUDA 1.3"),
        (None, "13.0", "torch is built without CUDA"),
        ("13.0", None, "onnxruntime is built without CUDA"),
        ("13.0", "", "onnxruntime is built without CUDA"),
        (None, None, "torch and onnxruntime are built without CUDA"),
    ],
)
def test_anything_else_is_one_line(torch: str | None, onnx: str | None, named: str) -> None:
    with pytest.raises(ValueError, match="^device cuda: ") as raised:
        check_cuda(torch, onnx)
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)


def test_it_is_checked_when_a_bundle_is_opened(
    exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr(onnxruntime, "cuda_version", "12.8", raising=False)
    with pytest.raises(BundleError, match="install versions of one CUDA major"):
        open_bundle(exported("tiny_r50"), Execution(device="cuda"))
    open_bundle(exported("tiny_r50"))


def test_without_a_gpu_one_line_says_what_to_do(
    exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime, which prints lines of its own, is not asked."""
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BundleError, match="^device cuda: no GPU can be used") as raised:
        open_bundle(exported("tiny_r50"), Execution(device="cuda"))
    assert "--gpus all" in str(raised.value) and "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""
