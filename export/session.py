"""The exported coarse pass as a function of named tensors, run by ONNX Runtime or by OpenVINO."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from export.cuda import check_installed_cuda
from export.errors import BundleError
from export.execution import Execution, import_openvino

_ELEMENTS = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
_TYPES = {
    torch.float32: np.float32,
    torch.int64: np.int64,
    # Only detectors that others exported (export/detector) have inputs of these.
    torch.float16: np.float16,
    torch.int32: np.int32,
    torch.uint8: np.uint8,
}
_SMALLEST = {"batch": 1, "prompts": 0}  # of the graphs' dimensions; the others are sides of images
_SMALLEST_SIDE = 32  # pixels; the networks' largest stride


class GraphRun(Protocol):
    """An exported coarse pass, called like the network's own, whatever runs it."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What runs the graph, the preferred one first."""
        ...

    def __call__(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Run the graph on the inputs that it has; others are ignored."""
        ...

    def without(self, outputs: Collection[str]) -> GraphRun:
        """Return the same pass, run by the same session, without these outputs."""
        ...

    def shrink(self) -> None:
        """Give back the memory that is kept for later passes."""
        ...


def open_graph(path: Path, execution: Execution) -> GraphRun:
    """Open a graph for what runs it best. Raises BundleError."""
    if execution.precision == "bf16":
        return OpenVinoPass(path, execution)
    return open_pass(path, execution)


def open_pass(path: Path, execution: Execution, outputs: Sequence[str] | None = None) -> GraphPass:
    """Open a graph for ONNX Runtime, to compute these outputs (None: all). Raises BundleError."""
    if execution.device == "cpu":
        return GraphPass(open_session(path, execution), outputs=outputs)
    stream = torch.cuda.Stream() if torch.cuda.is_available() else None  # type: ignore[no-untyped-call]
    session = open_session(path, execution, 0 if stream is None else stream.cuda_stream)
    if stream is None:  # ONNX Runtime found a GPU all the same
        raise BundleError("cuda was asked for, but PyTorch finds no GPU: check the driver, or use device cpu")
    return GraphPass(session, stream, outputs)


def open_session(path: Path, execution: Execution, stream: int = 0) -> onnxruntime.InferenceSession:
    """Open a graph. On CUDA it runs on the given stream.

    Raises BundleError if the graph cannot be loaded, or if CUDA was asked for and is not what would run it: ONNX
    Runtime itself would silently use the CPU.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = execution.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(execution.spin)))
    # A memory pattern is kept for every input shape that was ever seen: memory grows, and passes are no faster here.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    wanted: list[Any] = ["CPUExecutionProvider"]
    if execution.device == "cuda":
        try:
            check_installed_cuda()
        except ValueError as error:
            raise BundleError(str(error)) from error
        wanted.insert(0, ("CUDAExecutionProvider", cuda_options(stream)))
    try:
        session = onnxruntime.InferenceSession(path, options, providers=wanted)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BundleError(f"{path} cannot be loaded: {str(error).splitlines()[0]}") from error
    if execution.device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise BundleError(
            f"{execution.device} was asked for, but ONNX Runtime can only use {session.get_providers()}: "
            "check the driver and that onnxruntime-gpu matches its CUDA version, or use device cpu"
        )
    return session


def cuda_options(stream: int) -> dict[str, str]:
    """Return the options of ONNX Runtime's CUDA provider.

    Trying out every algorithm of a convolution would take seconds for each new input shape, and an arena that doubles
    would keep up to half of the GPU's memory from the renderer.
    """
    return {
        "user_compute_stream": str(stream),
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }


class GraphPass:
    """An exported coarse pass as a function of named tensors, by ONNX Runtime.

    Outputs stay where they are computed: PyTorch takes their memory over. On CUDA, passes run on a stream of PyTorch's,
    which waits for what was submitted before and is waited for by what comes after, so the host never waits.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        stream: torch.cuda.Stream | None = None,
        outputs: Sequence[str] | None = None,
    ) -> None:
        self._session, self._stream = session, stream
        self._inputs = [argument.name for argument in session.get_inputs()]
        self.outputs = list(outputs or (argument.name for argument in session.get_outputs()))
        self._options = onnxruntime.RunOptions()
        if stream is not None:
            self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the graph on the inputs that it has; others are ignored."""
        binding = self._session.io_binding()
        held = {name: inputs[name].contiguous() for name in self._inputs}
        for name, tensor in held.items():
            place = tensor.device.type, tensor.device.index or 0
            binding.bind_input(name, *place, _TYPES[tensor.dtype], tuple(tensor.shape), tensor.data_ptr())
        for name in self.outputs:
            binding.bind_output(name, "cpu" if self._stream is None else "cuda")
        with _ordered(self._stream):
            self._session.run_with_iobinding(binding, self._options)
        found = map(from_dlpack, binding.get_outputs())
        return dict(zip(self.outputs, found, strict=True))

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's execution providers that run the graph, the preferred one first."""
        return tuple(self._session.get_providers())

    @property
    def inputs(self) -> dict[str, tuple[str, list[int | str | None]]]:
        """ONNX Runtime's name of the type of each input, and its shape, with numbers where it is fixed."""
        return {argument.name: (argument.type, argument.shape) for argument in self._session.get_inputs()}

    def without(self, outputs: Collection[str]) -> GraphPass:
        """Return the same pass, run by the same session, without these outputs."""
        left = [name for name in self.outputs if name not in outputs]
        return GraphPass(self._session, self._stream, left)

    def shrink(self, inputs: Mapping[str, Tensor] | None = None) -> None:
        """Give back the memory that the session keeps for later passes.

        ONNX Runtime does so only at the end of a pass, so this runs one on `inputs`, or on the smallest that a coarse
        pass may have.
        """
        options = onnxruntime.RunOptions()
        arenas = "cpu:0;gpu:0" if "CUDAExecutionProvider" in self.providers else "cpu:0"
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", arenas)
        if inputs is None:
            feed = {argument.name: _smallest(argument) for argument in self._session.get_inputs()}
        else:
            feed = {name: value.cpu().numpy() for name, value in inputs.items()}
        self._session.run(self.outputs, feed, options)


class OpenVinoPass:
    """An exported coarse pass as a function of named tensors, by OpenVINO: in bf16, half of ONNX Runtime's time.

    OpenVINO prepares a plan for each new shape of the inputs, in a fraction of a second, and keeps the plans.
    """

    def __init__(self, path: Path, execution: Execution) -> None:
        """Open a graph. Raises BundleError if it cannot be loaded."""
        openvino = import_openvino()  # an extra: only those who ask for bf16 need it

        settings = {
            "INFERENCE_PRECISION_HINT": {"bf16": "bf16", "fp32": "f32"}[execution.precision],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
        }
        if execution.threads:
            settings["INFERENCE_NUM_THREADS"] = str(execution.threads)
        try:
            self._model = openvino.Core().compile_model(path, "CPU", settings)
        except RuntimeError as error:
            raise BundleError(f"{path} cannot be loaded: {str(error).splitlines()[0]}") from error
        self._request = self._model.create_infer_request()
        self._inputs = [port.any_name for port in self._model.inputs]
        self._outputs = [port.any_name for port in self._model.outputs]
        self.providers = (f"OpenVINO ({execution.precision})",)

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the graph on the inputs that it has; others are ignored. Outputs are copies: the next pass overwrites."""
        self._request.infer({name: inputs[name].numpy() for name in self._inputs}, share_inputs=True)
        return {name: torch.from_numpy(self._request.get_tensor(name).data.copy()) for name in self._outputs}

    def without(self, outputs: Collection[str]) -> OpenVinoPass:
        """Return the same pass, run by the same session, without copies of these outputs."""
        same = copy.copy(self)
        same._outputs = [name for name in self._outputs if name not in outputs]
        return same

    def shrink(self) -> None:
        """Give back the memory that is kept for later passes."""
        self._model.release_memory()


@contextmanager
def _ordered(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """Let a stream wait for what the current one was given before, and the current one for what it is given here."""
    if stream is None:
        yield
        return
    current = torch.cuda.current_stream(stream.device)
    stream.wait_stream(current)
    yield
    current.wait_stream(stream)


def _smallest(argument: onnxruntime.NodeArg) -> NDArray[Any]:
    """Return zeros in the smallest shape that an input of a graph may have."""
    sides = [
        side if isinstance(side, int) else _SMALLEST.get(side, _SMALLEST_SIDE) for side in argument.shape
    ]
    return np.zeros(sides, _ELEMENTS[argument.type])
