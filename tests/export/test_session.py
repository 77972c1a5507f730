"""Running a graph: inputs and outputs are bound where they are, and PyTorch owns what comes out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from export.execution import Execution, has_openvino
from export.session import GraphPass, OpenVinoPass, cuda_options, open_graph, open_session
from model.predict.coarse import no_prompts


def inputs(height: int = 64, width: int = 96) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    image = torch.randn(1, 3, height, width)
    return {"image": image, "size": torch.tensor([[float(height), float(width)]]), **no_prompts()}


@pytest.fixture(scope="module")
def graph(exported: Callable[[str], Path]) -> Path:
    return exported("tiny_r50") / "coarse.onnx"


def test_what_is_bound_is_what_a_plain_run_gives(graph: Path) -> None:
    session = open_session(graph, Execution(threads=1))
    found = GraphPass(session)({**inputs(), "other": torch.zeros(1)})
    names = [output.name for output in session.get_outputs()]
    expected = session.run(names, {name: value.numpy() for name, value in inputs().items()})
    assert list(found) == names
    for name, value in zip(names, expected, strict=True):
        assert found[name].shape == value.shape
        np.testing.assert_array_equal(found[name].numpy(), value)


def test_outputs_outlive_the_pass_and_the_session(graph: Path) -> None:
    """PyTorch takes their memory over, so that no copy is made, and it stays theirs."""
    run = open_graph(graph, Execution(threads=1))
    first = run(inputs())
    kept = {name: value.clone() for name, value in first.items()}
    run({name: value + 1 if name == "image" else value for name, value in inputs().items()})
    del run
    gc.collect()
    for name, value in first.items():
        assert torch.equal(value, kept[name])


def test_inputs_need_not_be_contiguous(graph: Path) -> None:
    run = open_graph(graph, Execution(threads=1))
    expected, turned = run(inputs()), inputs()
    turned["image"] = turned["image"].transpose(2, 3).contiguous().transpose(2, 3)
    assert all(torch.equal(value, expected[name]) for name, value in run(turned).items())


def test_the_cuda_provider_runs_on_the_stream_that_it_is_given() -> None:
    options = cuda_options(1234)
    assert options["user_compute_stream"] == "1234"
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options["arena_extend_strategy"] == "kSameAsRequested"


def test_openvino_gives_what_onnx_runtime_gives(graph: Path) -> None:
    """In fp32; bf16 is rougher, and what that costs is measured on pictures (docs/parity.md)."""
    if not has_openvino():
        pytest.skip("OpenVINO is not installed (extra `bf16`)")
    expected = open_graph(graph, Execution(threads=1))(inputs())
    run = OpenVinoPass(graph, Execution(threads=1))
    found = run(inputs())
    run({name: value + 1 if name == "image" else value for name, value in inputs().items()})
    run.shrink()
    assert run.providers == ("OpenVINO (fp32)",)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=2e-3, rtol=1e-3)
