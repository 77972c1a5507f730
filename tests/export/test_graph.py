"""Operators that the coarse graph translates by hand, each alone."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn

from export.graph import _nms_rows, export_graph
from model.networks.nms import nms_rows


class Nms(nn.Module):
    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        return nms_rows(boxes, scores, 0.5, -1e30)


def test_nms_in_onnx_keeps_what_the_operator_keeps(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(3, 12, 4, generator=generator) * 8
    boxes[..., 2:] += boxes[..., :2] + 6
    scores = torch.randn(3, 12, generator=generator)
    scores[0, ::3] = scores[1] = float("-inf")  # empty places, and a row of nothing else
    example = {"boxes": boxes[:2, :7], "scores": scores[:2, :7]}
    free = {0: torch.export.Dim("rows"), 1: torch.export.Dim("places")}
    translations = {torch.ops.pointrend.nms_rows.default: _nms_rows}
    export_graph(
        Nms(), tmp_path / "nms.onnx", example, {"boxes": free, "scores": free}, ["kept"], translations
    )
    session = onnxruntime.InferenceSession(tmp_path / "nms.onnx", providers=["CPUExecutionProvider"])
    (kept,) = session.run(None, {"boxes": boxes.numpy(), "scores": scores.numpy()})
    expected = nms_rows(boxes, scores, 0.5, -1e30)
    assert kept.tolist() == expected.tolist() and 0 < expected[0].sum() < 8 and not expected[1].any()
