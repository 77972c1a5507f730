"""A tiny ONNX detector that finds the bright part of a picture: its box as `dog`, and the box's left half as `cat`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.detector.run import OnnxDetector, output_names
from export.detector.settings import DetectorSettings, read_settings
from export.execution import Execution
from export.session import open_pass

SIDE = 64  # height and width of its input
SCORES = (0.9, 0.4)  # of dog and cat where the picture is white; darker ones have less
CLASSES = ["cat", None, "dog"]
SETTINGS: dict[str, Any] = {
    "name": "bright",
    "licence": "MIT",
    "input": {"image": "picture", "height": SIDE, "width": SIDE},
    "output": {"boxes": "places", "scores": "chances", "labels": "kinds"},
    "classes": CLASSES,
}


def bright_graph(
    *,
    batch: int | str = "N",
    form: str = "labels",
    cxcywh: bool = False,
    unit: bool = False,
    size: bool = False,
) -> onnx.ModelProto:
    """The graph, with outputs in one of the forms "labels", "logits" and "rows"."""
    constants = {
        "half": np.float32([[1, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 1]]),
        "centred": np.float32([[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]]),
        "one": np.float32([1]),
        "middle": np.float32(0.5),
        "share": np.float32(1 / SIDE),
        "scores": np.float32([SCORES]),
        "kind": np.float32([[2, 0]]),
        "none": np.float32(0),
        "kinds of each": np.float32([[[0, 0, 1], [1, 0, 0]]]),
        "axis 1": np.int64([1]),
        "axis 2": np.int64([2]),
    }
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["picture"], ["grey"], axes=[1], keepdims=0),
        node("Greater", ["grey", "middle"], ["inside"]),
        node("Cast", ["inside"], ["bright"], to=TensorProto.FLOAT),
        node("ReduceMax", ["grey"], ["most"], axes=[1, 2], keepdims=0),
        node("Unsqueeze", ["most", "axis 1"], ["brightest"]),
        node("Mul", ["brightest", "scores"], ["chances"]),
        node("Mul", ["chances", "none"], ["nothing"]),
        node("Add", ["nothing", "kind"], ["labels"]),
        node("Cast", ["labels"], ["kinds"], to=TensorProto.INT64),
    ]
    for name, axis in (("x", 1), ("y", 2)):
        nodes += [
            node("ReduceMax", ["bright"], [f"{name} line"], axes=[axis], keepdims=0),
            node("ArgMax", [f"{name} line"], [f"{name} first"], axis=1, keepdims=1),
            node("ArgMax", [f"{name} line"], [f"{name} last"], axis=1, keepdims=1, select_last_index=1),
            node("Cast", [f"{name} first"], [f"{name}0"], to=TensorProto.FLOAT),
            node("Cast", [f"{name} last"], [f"{name} end"], to=TensorProto.FLOAT),
            node("Add", [f"{name} end", "one"], [f"{name}1"]),
        ]
    nodes += [
        node("Concat", ["x0", "y0", "x1", "y1"], ["whole"], axis=1),
        node("MatMul", ["whole", "half"], ["part"]),
        node("Unsqueeze", ["whole", "axis 1"], ["first"]),
        node("Unsqueeze", ["part", "axis 1"], ["second"]),
        node("Concat", ["first", "second"], ["pair"], axis=1),
    ]
    last = "pair"
    if cxcywh:
        nodes.append(node("MatMul", [last, "centred"], ["centres"]))
        last = "centres"
    if unit or size:
        nodes.append(node("Mul", [last, "share"], ["shares"]))
        last = "shares"
    if size:
        nodes += [
            node("Cast", ["target"], ["target size"], to=TensorProto.FLOAT),
            node("Concat", ["target size", "target size"], ["scale"], axis=1),
            node("Unsqueeze", ["scale", "axis 1"], ["scales"]),
            node("Mul", [last, "scales"], ["scaled"]),
        ]
        last = "scaled"
    outputs = {"places": (TensorProto.FLOAT, [batch, 2, 4])}
    nodes.append(node("Identity", [last], ["places"]))
    if form == "labels":
        outputs |= {"chances": (TensorProto.FLOAT, [batch, 2]), "kinds": (TensorProto.INT64, [batch, 2])}
    else:
        nodes.append(node("Unsqueeze", ["chances", "axis 2"], ["chance"]))
    if form == "logits":
        nodes.append(node("Mul", ["chance", "kinds of each"], ["logits"]))
        outputs |= {"logits": (TensorProto.FLOAT, [batch, 2, 3])}
    if form == "rows":
        nodes.append(node("Unsqueeze", ["labels", "axis 2"], ["label"]))
        nodes.append(node("Concat", ["places", "chance", "label"], ["rows"], axis=2))
        outputs = {"rows": (TensorProto.FLOAT, [batch, 2, 6])}
    inputs = [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])]
    if size:
        inputs.append(helper.make_tensor_value_info("target", TensorProto.INT64, [batch, 2]))
    graph = helper.make_graph(
        nodes,
        "bright",
        inputs,
        [helper.make_tensor_value_info(name, *what) for name, what in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def write_graph(folder: Path, **form: Any) -> Path:
    """Write the graph as bright.onnx."""
    path = folder / "bright.onnx"
    onnx.save(bright_graph(**form), path)
    return path


def write_settings(folder: Path, **changes: Any) -> Path:
    """Write the settings beside it: members of `input` and `output` may be changed; ... removes."""
    content: dict[str, Any] = dict(SETTINGS)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(content.get(name), dict)
        content[name] = {**content[name], **value} if both else value
    kept = {
        name: {k: v for k, v in value.items() if v is not ...} if isinstance(value, dict) else value
        for name, value in content.items()
        if value is not ...
    }
    path = folder / "bright.yaml"
    path.write_text(yaml.safe_dump(kept))
    return path


def settings(folder: Path, **changes: Any) -> DetectorSettings:
    """The settings, with changes as `write_settings` takes them."""
    return read_settings(write_settings(folder, **changes))


def detector(folder: Path, form: dict[str, Any] | None = None, **changes: Any) -> OnnxDetector:
    """The tiny detector, opened."""
    chosen = settings(folder, **changes)
    path = write_graph(folder, **(form or {}))
    return OnnxDetector(open_pass(path, Execution(threads=1), output_names(chosen)), chosen)


def spot(height: int, width: int, box: tuple[int, int, int, int], value: int = 255) -> NDArray[np.uint8]:
    """A black picture [height, width, 3] with a bright box x0, y0, x1, y1."""
    image = np.zeros((height, width, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = value
    return image
