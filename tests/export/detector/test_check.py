"""What is checked of a detector's file before it goes into a bundle: every fault is one line that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.detector.check import write_detector
from export.external import check_self_contained
from model.errors import UserError
from tests.export.detector.bright import bright_graph, settings, write_graph


def refused(path: Path, folder: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as refusal:
        write_detector(path, settings(folder, **changes), folder / "out.onnx")
    message = str(refusal.value)
    assert "\n" not in message and str(path) in message
    return message.replace(str(path), "FILE")


def test_a_graph_that_is_one_file_is_copied(tmp_path: Path) -> None:
    path = write_graph(tmp_path)
    write_detector(path, settings(tmp_path), tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == path.read_bytes()


def test_weights_in_other_files_are_put_into_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "bright.onnx"
    onnx.save(bright_graph(), path, save_as_external_data=True, location="bright.data", size_threshold=0)
    with pytest.raises(UserError):
        check_self_contained(path)
    write_detector(path, settings(tmp_path), tmp_path / "out.onnx")
    check_self_contained(tmp_path / "out.onnx")
    (tmp_path / "bright.data").unlink()
    assert "FILE keeps weights in other files, which cannot be read" in refused(path, tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.onnx", tmp_path).startswith(
        "FILE is no file: --detector takes an ONNX graph"
    )
    (tmp_path / "text.onnx").write_text("no graph")
    assert refused(tmp_path / "text.onnx", tmp_path) == "FILE is no ONNX graph"


@pytest.mark.parametrize(
    ("form", "changes", "message"),
    [
        ({}, {"input": {"image": "images"}}, "FILE has no input 'images'; it has picture"),
        ({}, {"input": {"size": "target"}}, "FILE has no input 'target'; it has picture"),
        ({"size": True}, {}, "FILE has an input that the settings do not name: target"),
        ({}, {"output": {"boxes": "b"}}, "FILE has no output 'b'; it has places, chances, kinds"),
        (
            {},
            {"input": {"height": 96}},
            "FILE: input 'picture' has the shape ['N', 3, 64, 64], and the settings ",
        ),
        ({"batch": 2}, {}, "FILE: input 'picture' has the shape [2, 3, 64, 64], and the settings ask for "),
        ({}, {"output": {"boxes": "chances"}}, "FILE: the detector's output 'chances' cannot be boxes"),
        (
            {},
            {"output": {"scores": "kinds"}},
            "FILE: its scores are between 0 and 2, and not from 0 to 1: are they",
        ),
        ({}, {"classes": ["cat", "dog"]}, "FILE: it gives the label 2, and classes has 2 names"),
        (
            {},
            {"output": {"boxes": ..., "scores": ..., "labels": ..., "rows": "places"}},
            "FILE: the detector's output 'places' cannot be rows: it has the shape [1, 2, 4], where [1, K, 6] was",
        ),
    ],
    ids=str,
)
def test_names_shapes_and_results_must_fit(
    form: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    assert refused(write_graph(tmp_path, **form), tmp_path, **changes).startswith(message)


def test_operators_of_others_are_refused(tmp_path: Path) -> None:
    graph = bright_graph()
    graph.graph.node.append(helper.make_node("EfficientNMS", ["places"], ["x"], domain="TRT"))
    graph.opset_import.append(helper.make_opsetid("TRT", 1))
    path = tmp_path / "bright.onnx"
    onnx.save(graph, path)
    assert refused(path, tmp_path).startswith(
        "FILE needs operators of 'TRT', which ONNX Runtime does not have"
    )


def test_a_graph_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    graph = bright_graph()
    graph.graph.node[0].op_type = "NoSuchOperator"
    path = tmp_path / "bright.onnx"
    onnx.save(graph, path)
    assert refused(path, tmp_path).startswith("FILE cannot be loaded: ")


def test_a_graph_of_one_image_that_says_any_number_is_refused(tmp_path: Path) -> None:
    """The names of dimensions are promises that an exporter may not have kept."""
    graph = bright_graph()
    shape = numpy_helper.from_array(np.int64([1, 3, 64, 64]), "one image")
    graph.graph.initializer.append(shape)
    graph.graph.node.insert(0, helper.make_node("Reshape", ["picture", "one image"], ["only"]))
    graph.graph.node[1].input[0] = "only"
    path = tmp_path / "bright.onnx"
    onnx.save(graph, path)
    assert refused(path, tmp_path).startswith(
        "FILE: its number of images is dynamic, but it cannot be run on two: "
    )


def test_results_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    graph = bright_graph()
    (scores,) = (each for each in graph.graph.initializer if each.name == "scores")
    scores.CopyFrom(numpy_helper.from_array(np.float32([[np.nan, 0.4]]), "scores"))
    path = tmp_path / "bright.onnx"
    onnx.save(graph, path)
    assert refused(path, tmp_path) == "FILE: it gives boxes or scores that are no numbers for a picture"


def test_other_types_of_pixels_are_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["picture"], ["places"])],
        "wrong",
        [helper.make_tensor_value_info("picture", TensorProto.INT64, ["N", 3, 64, 64])],
        [helper.make_tensor_value_info("places", TensorProto.INT64, ["N", 3, 64, 64])],
    )
    path = tmp_path / "bright.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    rows = {"output": {"boxes": ..., "scores": ..., "labels": ..., "rows": "places"}}
    assert (
        "input 'picture' is a tensor(int64), and tensor(float), tensor(float16), tensor(uint8) are possible"
        in refused(path, tmp_path, **rows)
    )
