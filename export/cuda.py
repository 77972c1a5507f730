"""PyTorch and ONNX Runtime share a GPU only if both were built for one major version of CUDA.

ONNX Runtime brings no CUDA libraries of its own: it uses those that PyTorch has loaded.
"""

from __future__ import annotations

import warnings

import onnxruntime
import torch

from model.errors import UserError


def check_cuda(torch_version: str | None, onnxruntime_version: str | None) -> None:
    """Raise UserError unless both were built for one major version of CUDA ("13.0"; None: without CUDA)."""
    found = {"torch": torch_version, "onnxruntime": onnxruntime_version}
    if without := [name for name, version in found.items() if not version]:
        raise UserError(
            f"device cuda: {' and '.join(without)} {'is' if len(without) == 1 else 'are'} built without CUDA: "
            "install PyTorch's CUDA build and onnxruntime-gpu, or use device cpu"
        )
    if len({str(version).split(".")[0] for version in found.values()}) > 1:
        raise UserError(
            f"device cuda: torch is built for CUDA {torch_version} and onnxruntime for CUDA {onnxruntime_version}: "
            "install versions of one CUDA major"
        )


def check_installed_cuda() -> None:
    """Raise UserError unless the installed PyTorch and ONNX Runtime can share a GPU, and there is one."""
    check_cuda(torch.version.cuda, getattr(onnxruntime, "cuda_version", None))
    with warnings.catch_warnings(action="ignore"):  # of a driver that is too old; the error says so, too
        available = torch.cuda.is_available()
    if not available:
        raise UserError(
            f"device cuda: no GPU can be used. Is there one, with a driver for CUDA {torch.version.cuda}? "
            "A container sees it if it is started with `docker run --gpus all` or `docker compose --profile gpu`. "
            "Or use device cpu"
        )
