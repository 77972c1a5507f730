"""What a session keeps of the memory it had is given back on demand."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from onnx import TensorProto, helper, save

from export.session import Execution, GraphPass, open_session


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_memory_that_a_large_pass_took_is_given_back(tmp_path: Path) -> None:
    shape: list[str | int | None] = ["batch", 3, "rows", "columns"]
    image, coarse = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("image", "coarse"))
    nodes = [helper.make_node("Exp", ["image"], ["x"]), helper.make_node("Sin", ["x"], ["coarse"])]
    graph = helper.make_graph(nodes, "tiny", [image], [coarse])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "m")
    run = GraphPass(open_session(tmp_path / "m", Execution(threads=1)))
    run.shrink()
    small, large = resident(), torch.zeros(2, 3, 1024, 1024)
    run({"image": large})
    kept = resident() - small - large.nbytes
    assert kept > large.nbytes
    run.shrink()
    assert resident() - small - large.nbytes < kept / 4
    assert run({"image": large})["coarse"].shape == large.shape  # it can go on
