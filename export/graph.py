"""The coarse pass as an ONNX graph with dynamic batch, height and width."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import opset18, optimizer
from torch import Tensor, nn

from export.stages import StagedPass, named, public_names
from model.networks.build import CoarsePass
from model.networks.coarse_pass import BoxPass
from model.predict.coarse import FEATURES, BoxCoarse

OPSET = 18
op: Any = opset18  # its stubs type every constant as a union of all types
_MOST = 2**31 - 1

_BATCH = torch.export.Dim("batch", min=1, max=64)
_ROWS = torch.export.Dim("rows", min=2, max=512)
_COLUMNS = torch.export.Dim("columns", min=2, max=512)
_PROMPTS = torch.export.Dim("prompts", min=0, max=100_000)
_SHAPES: Mapping[str, dict[int, Any]] = {
    "image": {0: _BATCH, 2: 32 * _ROWS, 3: 32 * _COLUMNS},
    "size": {0: _BATCH},
    "prompts": {0: _PROMPTS},
    "prompt_batch": {0: _PROMPTS},
    "prompt_class": {0: _PROMPTS},
}


def example(height: int = 256, width: int = 320) -> dict[str, Tensor]:
    """Return inputs with which a pass is traced. The sides, multiples of 32, stand for all others."""
    return {
        "image": torch.rand(2, 3, height, width),
        "size": torch.tensor([[height, width], [height - 7, width - 9]], dtype=torch.float32),
        "prompts": torch.tensor([[8.0, 8, 90, 120], [40, 30, 200, 160], [5, 5, 60, 60]]),
        "prompt_batch": torch.tensor([0, 1, 1]),
        "prompt_class": torch.tensor([-1, 0, -1]),
    }


def export_staged(coarse: CoarsePass, path: Path) -> list[str]:
    """Write the graph of a pass with its intermediate results as further outputs. Return its own outputs' names."""
    program, outputs = trace_staged(coarse)
    program.optimize()
    program.save(path)
    return outputs


def trace_staged(coarse: CoarsePass) -> tuple[torch.onnx.ONNXProgram, list[str]]:
    """Return what `export_staged` writes, before constants are folded: each weight still has its own name."""
    given = example()
    inputs = {name: given[name] for name in coarse.inputs}
    with torch.inference_mode():
        steps = coarse.steps(**inputs)
    shapes = {"inputs": tuple(_SHAPES[name] for name in inputs)}
    return trace(StagedPass(coarse), inputs, shapes, list(named(steps))), public_names(steps)


def export_boxes(boxes: BoxPass, path: Path) -> None:
    """Write the graph of a box pass. The features of its example are those of `example`, as to their sizes."""
    given, channels = example(), boxes.network.config.fpn.channels
    height, width = given["image"].shape[2:]
    sides = {name: 4 << level for level, name in enumerate(FEATURES)}  # of a cell, in pixels
    inputs = {name: torch.rand(1, channels, height // side, width // side) for name, side in sides.items()}
    inputs |= {name: given[name] for name in boxes.inputs if name not in FEATURES}
    shapes = {name: {2: 32 // side * _ROWS, 3: 32 // side * _COLUMNS} for name, side in sides.items()}
    each = tuple(shapes[name] if name in shapes else _SHAPES[name] for name in inputs)
    program = trace(boxes, inputs, each, BoxCoarse._fields)
    program.optimize()
    program.save(path)


def prune(staged: Path, path: Path, outputs: Sequence[str]) -> None:
    """Write the graph at `staged` again with these outputs alone, and without what only the others needed."""
    model = onnx.load(staged)
    for output in [each for each in model.graph.output if each.name not in outputs]:
        model.graph.output.remove(output)
    optimizer.remove_unused_nodes(model)
    onnx.save(model, path)


def trace(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    shapes: dict[str, Any] | tuple[Any, ...],
    outputs: Sequence[str],
) -> torch.onnx.ONNXProgram:
    """Return a module of positional tensors as an ONNX program; the names of `inputs` become those of the graph."""
    translations: dict[Any, Any] = {torch.ops.pointrend.nms_rows.default: _nms_rows}
    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            optimize=False,
            custom_translation_table=translations,
        )
    assert program is not None  # it is returned where no file is written
    return program


def _nms_rows(boxes: Any, scores: Any, iou_threshold: float, min_score: float) -> Any:
    """Return `model.networks.nms.nms_rows` in ONNX: rows are batches of one class, and the picks become a mask."""
    picks = op.NonMaxSuppression(
        boxes,
        op.Unsqueeze(scores, op.Constant(value_ints=[1])),
        op.Constant(value_ints=[_MOST]),
        op.Constant(value_floats=[float(iou_threshold)]),
        op.Constant(value_floats=[float(min_score)]),
    )
    places = op.Gather(picks, op.Constant(value_ints=[0, 2]), axis=1)
    none = op.Less(scores, scores)
    count = op.Slice(
        op.Shape(picks), op.Constant(value_ints=[0]), op.Constant(value_ints=[1]), op.Constant(value_ints=[0])
    )
    kept = op.Expand(op.Cast(op.Constant(value_ints=[1]), to=onnx.TensorProto.BOOL), count)
    return op.ScatterND(none, places, kept)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which prints its progress and warns about its own internals."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
