"""ONNX Runtime sessions, and the exported coarse pass as a function of named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.cuda import check_installed_cuda
from export.errors import BundleError

_ELEMENTS = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
_SMALLEST = {"batch": 1, "prompts": 0}  # of the graphs' dimensions; the others are sides of images
_SMALLEST_SIDE = 32  # pixels; the networks' largest stride


@dataclass(frozen=True)
class Execution:
    """Where a graph runs, and with how many threads."""

    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 0  # 0: ONNX Runtime chooses


def open_session(path: Path, execution: Execution) -> onnxruntime.InferenceSession:
    """Open a graph. Its threads sleep between two operators, because they share the machine with others.

    Raises BundleError if the graph cannot be loaded, or if CUDA was asked for and is not what would run it: ONNX
    Runtime itself would silently use the CPU.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = execution.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A memory pattern is kept for every input shape that was ever seen: memory grows, and passes are no faster here.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    wanted = ["CPUExecutionProvider"]
    if execution.device == "cuda":
        try:
            check_installed_cuda()
        except ValueError as error:
            raise BundleError(str(error)) from error
        wanted.insert(0, "CUDAExecutionProvider")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=wanted)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BundleError(f"{path} cannot be loaded: {str(error).splitlines()[0]}") from error
    if session.get_providers()[0] != wanted[0]:
        raise BundleError(
            f"{execution.device} was asked for, but ONNX Runtime can only use {session.get_providers()}: "
            "check the driver and that onnxruntime-gpu matches its CUDA version, or use device cpu"
        )
    return session


class GraphPass:
    """An exported coarse pass as a function of named tensors, called like the network's own."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._inputs = [argument.name for argument in session.get_inputs()]
        self._outputs = [argument.name for argument in session.get_outputs()]

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the graph on the inputs that it has; others are ignored. Outputs are views of ONNX Runtime's memory."""
        feed = {name: inputs[name].numpy() for name in self._inputs}
        found = self._session.run(self._outputs, feed)
        return {name: torch.from_numpy(value) for name, value in zip(self._outputs, found, strict=True)}

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's execution providers that run the graph, the preferred one first."""
        return tuple(self._session.get_providers())

    def shrink(self) -> None:
        """Give back the memory that the session keeps for later passes.

        ONNX Runtime does so only at the end of a pass, so this runs the smallest one.
        """
        options = onnxruntime.RunOptions()
        arenas = "cpu:0;gpu:0" if "CUDAExecutionProvider" in self.providers else "cpu:0"
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", arenas)
        feed = {argument.name: _smallest(argument) for argument in self._session.get_inputs()}
        self._session.run(self._outputs, feed, options)


def _smallest(argument: onnxruntime.NodeArg) -> NDArray[Any]:
    """Return zeros in the smallest shape that an input of a graph may have."""
    sides = [
        side if isinstance(side, int) else _SMALLEST.get(side, _SMALLEST_SIDE) for side in argument.shape
    ]
    return np.zeros(sides, _ELEMENTS[argument.type])
