"""The coarse pass as an ONNX graph with dynamic batch, height and width."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import opset18
from torch import Tensor, nn

from model.networks.coarse_pass import InstancePass, SemanticPass
from model.predict.coarse import InstanceCoarse, LabelMapCoarse

OPSET = 18
op: Any = opset18  # its stubs type every constant as a union of all types
OUTPUTS = InstanceCoarse._fields
_MOST = 2**31 - 1


def _nms_rows(boxes: Any, scores: Any, iou_threshold: float, min_score: float) -> Any:
    """`model.networks.nms.nms_rows` in ONNX: rows are its batches, with one class; the picks become a mask."""
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


def export_coarse(coarse: InstancePass, path: Path, height: int = 256, width: int = 320) -> None:
    """Write the graph. height and width are those of the example only (multiples of 32)."""
    example = {
        "image": torch.rand(2, 3, height, width),
        "size": torch.tensor([[height, width], [height - 7, width - 9]], dtype=torch.float32),
        "prompts": torch.tensor([[8.0, 8, 90, 120], [40, 30, 200, 160], [5, 5, 60, 60]]),
        "prompt_batch": torch.tensor([0, 1, 1]),
        "prompt_class": torch.tensor([-1, 0, -1]),
    }
    batch = torch.export.Dim("batch", min=1, max=64)
    rows = torch.export.Dim("rows", min=1, max=512)
    columns = torch.export.Dim("columns", min=1, max=512)
    prompts = torch.export.Dim("prompts", min=0, max=100_000)
    shapes = {
        "image": {0: batch, 2: 32 * rows, 3: 32 * columns},
        "size": {0: batch},
        "prompts": {0: prompts},
        "prompt_batch": {0: prompts},
        "prompt_class": {0: prompts},
    }
    translations: dict[Any, Any] = {torch.ops.pointrend.nms_rows.default: _nms_rows}
    export_graph(coarse, path, example, shapes, list(OUTPUTS), translations)


def export_semantic(coarse: SemanticPass, path: Path, height: int = 256, width: int = 320) -> None:
    """Write the graph of a semantic network: image → coarse logits, and the projected fine map if it has a head."""
    batch = torch.export.Dim("batch", min=1, max=64)
    rows = torch.export.Dim("rows", min=2, max=512)
    columns = torch.export.Dim("columns", min=2, max=512)
    outputs = list(LabelMapCoarse._fields[: 1 if coarse.network.point is None else 2])
    example = {"image": torch.rand(2, 3, height, width)}
    export_graph(coarse, path, example, {"image": {0: batch, 2: 32 * rows, 3: 32 * columns}}, outputs)


def export_graph(
    coarse: nn.Module,
    path: Path,
    example: dict[str, Tensor],
    shapes: dict[str, Any],
    outputs: list[str],
    translations: dict[Any, Any] | None = None,
) -> None:
    """Write the module as ONNX, with the example's names as its inputs'."""
    with _quiet():
        torch.onnx.export(
            coarse,
            (),
            path,
            kwargs=example,
            input_names=list(example),
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            custom_translation_table=translations,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its progress and warns about its own internals."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
