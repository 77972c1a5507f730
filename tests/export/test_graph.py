"""Operators that the coarse graph translates by hand, each alone."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import torch
from onnx import TensorProto, helper, load, save
from torch import Tensor, nn

from export.graph import prune, trace
from model.networks.nms import nms_rows


class Nms(nn.Module):
    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        kept: Tensor = nms_rows(boxes, scores, 0.5, -1e30)
        return kept


def test_nms_in_onnx_keeps_what_the_operator_keeps(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(3, 12, 4, generator=generator) * 8
    boxes[..., 2:] += boxes[..., :2] + 6
    scores = torch.randn(3, 12, generator=generator)
    scores[0, ::3] = scores[1] = float("-inf")  # empty places, and a row of nothing else
    example = {"boxes": boxes[:2, :7], "scores": scores[:2, :7]}
    free = {0: torch.export.Dim("rows"), 1: torch.export.Dim("places")}
    program = trace(Nms(), example, {"boxes": free, "scores": free}, ["kept"])
    program.save(tmp_path / "nms.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "nms.onnx", providers=["CPUExecutionProvider"])
    (kept,) = session.run(None, {"boxes": boxes.numpy(), "scores": scores.numpy()})
    expected = nms_rows(boxes, scores, 0.5, -1e30)
    assert kept.tolist() == expected.tolist() and 0 < expected[0].sum() < 8 and not expected[1].any()


def test_pruning_keeps_what_the_outputs_need(tmp_path: Path) -> None:
    sides: list[str | int | None] = ["batch", 2]
    x, a, b, c = (helper.make_tensor_value_info(n, TensorProto.FLOAT, sides) for n in "xabc")
    nodes = [
        helper.make_node("Exp", ["x"], ["a"]),
        helper.make_node("Sin", ["a"], ["b"]),
        helper.make_node("Cos", ["a"], ["c"]),
    ]
    graph = helper.make_graph(nodes, "staged", [x], [a, b, c])
    opset = [helper.make_opsetid("", 18)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "staged.onnx")
    prune(tmp_path / "staged.onnx", tmp_path / "own.onnx", ["b"])
    session = onnxruntime.InferenceSession(tmp_path / "own.onnx", providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["b"]
    assert [node.op_type for node in load(tmp_path / "own.onnx").graph.node] == ["Exp", "Sin"]
    values = torch.tensor([[0.5, 1.0]])
    assert torch.equal(torch.from_numpy(session.run(None, {"x": values.numpy()})[0]), values.exp().sin())
