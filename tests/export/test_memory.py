"""What a session keeps of the memory it had is given back on demand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from onnx import TensorProto, helper, save

# In a process of its own: in one that has run other tests, a pass may find memory that they have freed.
PROGRAM = """
import json, os, sys
from pathlib import Path
import torch
from export.execution import Execution
from export.session import GraphPass, open_session

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

run = GraphPass(open_session(Path(sys.argv[1]), Execution(threads=1)))
run.shrink()
large = torch.ones(2, 3, 1024, 1024)
small = resident()
run({"image": large})
kept = resident() - small
run.shrink()
left = resident() - small
again = run({"image": large})["coarse"].shape == large.shape
print(json.dumps({"input": large.nbytes, "kept": kept, "left": left, "again": again}))
"""


def test_memory_that_a_large_pass_took_is_given_back(tmp_path: Path) -> None:
    shape: list[str | int | None] = ["batch", 3, "rows", "columns"]
    image, coarse = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("image", "coarse"))
    nodes = [helper.make_node("Exp", ["image"], ["x"]), helper.make_node("Sin", ["x"], ["coarse"])]
    graph = helper.make_graph(nodes, "tiny", [image], [coarse])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "m")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "m")], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["kept"] > found["input"]
    assert found["left"] < found["kept"] / 4
    assert found["again"]  # it can go on
