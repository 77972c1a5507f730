"""Where a model runs and how precisely: what is asked for, and what this machine has of it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import onnxruntime
import torch

from export.cuda import check_installed_cuda
from model.errors import UserError

Precision = Literal["fp32", "bf16"]
CPUINFO = Path("/proc/cpuinfo")
# Instructions that multiply bf16 several times as fast as fp32: AVX-512 and AMX of x86, and those of Arm.
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


@dataclass(frozen=True)
class Execution:
    """Where a model runs, with how many threads, and how precisely. The default is what exact comparisons need."""

    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 0  # 0: the engine chooses
    precision: Precision = "fp32"  # of the coarse pass; in bf16 OpenVINO runs it
    head_precision: Precision = "fp32"  # of the point head's products
    spin: bool = False  # whether ONNX Runtime's threads wait for work without sleeping
    notes: tuple[str, ...] = ()  # why it is so, where it was left to this machine

    @property
    def torch_device(self) -> torch.device:
        """The device of tensors."""
        return torch.device(self.device)


def choose_execution(
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    threads: int = 0,
    spin: bool = False,
    gpu: Callable[[], str] | None = None,
    cpuinfo: Path = CPUINFO,
) -> Execution:
    """Return how a model runs on this machine, with a note for each choice that was left to it.

    `gpu` returns the name of the GPU, or raises UserError with a line that says why there is none. Raises UserError if
    bf16 is asked for and cannot be had because a package is missing.
    """
    notes = []
    if device == "auto":
        try:
            notes.append(f"device cuda: {(gpu or gpu_name)()}")
            device = "cuda"
        except UserError as error:
            notes.append(f"device cpu: {error}")
            device = "cpu"
    if device == "cuda":
        head: Precision = "bf16" if precision == "bf16" else "fp32"
        if head == "bf16":
            notes.append(
                "precision bf16: of the point head alone; on CUDA the graph runs as it was exported, in fp32"
            )
        return Execution(device, threads, "fp32", head, spin, tuple(notes))
    if precision == "fp32":
        return Execution(device, threads, spin=spin, notes=tuple(notes))
    if not has_bf16(cpuinfo):
        notes.append("precision fp32: this processor has no instructions for bf16")
        return Execution(device, threads, spin=spin, notes=tuple(notes))
    if not has_openvino():
        if precision == "bf16":
            raise UserError(
                "precision bf16 needs OpenVINO: pip install openvino (extra `bf16`), or choose auto or fp32"
            )
        notes.append(
            "precision bf16: of the point head alone; the coarse pass is in fp32, because OpenVINO (extra `bf16`) is "
            "not installed"
        )
        return Execution(device, threads, "fp32", "bf16", spin, tuple(notes))
    notes.append("precision bf16: the coarse pass by OpenVINO, and the point head; `fp32` is exact")
    return Execution(device, threads, "bf16", "bf16", spin, tuple(notes))


def gpu_name() -> str:
    """Return the name of the GPU. Raise UserError with a line that says why none can be used."""
    with warnings.catch_warnings(action="ignore"):  # of a driver that is too old
        if not torch.cuda.is_available():
            raise UserError("PyTorch finds no GPU")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise UserError("ONNX Runtime is built without CUDA")
    check_installed_cuda()
    return torch.cuda.get_device_name()


def has_bf16(cpuinfo: Path = CPUINFO) -> bool:
    """Return whether the processor multiplies bf16 faster than fp32."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:  # another system than Linux
        return False
    names = (line.partition(":") for line in lines)
    return any(
        name.strip() in ("flags", "Features") and _BF16 & set(value.split()) for name, _, value in names
    )


def has_openvino() -> bool:
    """Return whether OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which would send an event over the network with the import."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it were not installed
    return importlib.import_module("openvino")
