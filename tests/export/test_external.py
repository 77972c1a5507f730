"""A graph whose weights are in other files is refused, wherever in the graph they are; a damaged one is, too."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from export.bundle import GRAPH, open_bundle
from export.errors import BundleError
from export.external import check_self_contained


def tensor(name: str, location: str | None) -> TensorProto:
    made = numpy_helper.from_array(np.zeros(4, np.float32), name)
    if location is not None:
        external_data_helper.set_external_data(made, location)
        made.ClearField("raw_data")
    return made


def graph(place: str, location: str | None) -> onnx.ModelProto:
    """A graph with a tensor in this place."""
    held = tensor("w", location)
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    nodes, initializers, functions = [], [], []
    if place == "initializer":
        initializers = [held]
    elif place == "sparse":
        nodes = [helper.make_node("Constant", [], ["y"])]
        sparse = helper.make_sparse_tensor(held, numpy_helper.from_array(np.arange(4)), [4])
        nodes[0].attribute.append(helper.make_attribute("sparse_value", sparse))
    else:
        nodes = [helper.make_node("Constant", [], ["y"], value=held)]
    if place == "branch":
        branch = helper.make_graph(nodes, "branch", [], [value])
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]
    if place == "function":
        opset = [helper.make_opsetid("", 18)]
        functions = [helper.make_function("own", "F", [], ["y"], nodes, opset)]
        nodes = [helper.make_node("F", [], ["y"], domain="own")]
    made = helper.make_graph(nodes, "g", [], [value], initializers)
    return helper.make_model(made, functions=functions, opset_imports=[helper.make_opsetid("", 18)])


PLACES = ("initializer", "constant", "sparse", "branch", "function")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("location", ["weights.bin", "../outside.bin", "/etc/passwd"])
def test_weights_in_other_files_are_refused_in_one_line(tmp_path: Path, place: str, location: str) -> None:
    path = tmp_path / GRAPH
    path.write_bytes(graph(place, location).SerializeToString())
    with pytest.raises(BundleError) as refusal:
        check_self_contained(path)
    assert "keeps weights in other files" in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("place", PLACES)
def test_weights_inside_are_accepted(tmp_path: Path, place: str) -> None:
    path = tmp_path / GRAPH
    path.write_bytes(graph(place, None).SerializeToString())
    check_self_contained(path)


def test_damaged_graphs_end_in_one_line_or_are_read(tmp_path: Path) -> None:
    whole, draw, path = graph("branch", None).SerializeToString(), random.Random(0), tmp_path / GRAPH
    refused = 0
    for _ in range(500):
        damaged = bytearray(whole[: draw.randrange(1, len(whole) + 1)])
        for _ in range(draw.randrange(3)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            check_self_contained(path)
        except BundleError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100
    for content in (b"\xff" * 20, b"\x3a\xff\xff\xff\xff\x0f", b"\x38\x01", b"\x3b\x3c"):
        path.write_bytes(content)
        with pytest.raises(BundleError, match="it is no ONNX graph, or is damaged"):
            check_self_contained(path)


def test_a_bundle_with_weights_elsewhere_is_not_opened(
    exported: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hashes are right, so nothing else would notice."""
    folder = Path(shutil.copytree(exported("tiny_r50"), tmp_path / "bundle"))
    model = onnx.load(folder / GRAPH)
    onnx.save(model, folder / GRAPH, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (folder / "weights.bin").stat().st_size > 1000
    monkeypatch.setattr("export.bundle.check_files", lambda *_: None)
    with pytest.raises(BundleError, match="keeps weights in other files"):
        open_bundle(folder)
