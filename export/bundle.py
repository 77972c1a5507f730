"""The bundle: what training hands to serving. A folder that describes itself and is checked when it is opened.

    coarse.onnx             the coarse pass (see model/predict/coarse.py): dynamic batch, height and width
    boxes.onnx              the part of it that depends on given boxes, for pictures whose features are kept (absent
                            without a point head, and from bundles of schemas before 4)
    point_head.safetensors  the point head (absent for a network without one)
    detector.onnx           a detector that somebody else trained, if boxes are found by one (see export/detector)
    bundle.json             the manifest (export/manifest.py), with a hash of each file

Opening a bundle needs neither `onnx` nor any training package, and unpickles nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from export.detector.run import DETECTOR, OnnxDetector, open_detector
from export.errors import BundleError
from export.execution import Execution
from export.external import check_self_contained
from export.manifest import MANIFEST, Manifest, read_manifest
from export.session import GraphRun, open_graph
from model.pointrend.point_head import PointHead
from model.predict.coarse import FEATURES
from model.predict.instance import InstancePredictor
from model.predict.kept.boxes import BoxRuns
from model.predict.label_map import LabelMapPredictor
from model.predict.predictor import Predictor

GRAPH, BOXES, POINT_HEAD = "coarse.onnx", "boxes.onnx", "point_head.safetensors"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle of any task."""

    manifest: Manifest
    predictor: Predictor
    providers: tuple[str, ...]  # what runs the graph, the preferred one first
    execution: Execution = field(default_factory=Execution)
    release: Callable[[], None] = lambda: None  # gives back memory that is kept for speed alone


def open_bundle(folder: Path, execution: Execution | None = None) -> Bundle:
    """Check every file of a bundle and make it ready to predict. Raises BundleError."""
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    check_self_contained(folder / GRAPH)
    execution = execution or Execution()
    graph = open_graph(folder / GRAPH, execution)
    boxes = None
    if BOXES in manifest.files:
        check_self_contained(folder / BOXES)
        boxes = open_graph(folder / BOXES, execution)
    head = open_head(folder, manifest)
    if head is not None:
        head.to(execution.torch_device)
        head.precision = {"fp32": torch.float32, "bf16": torch.bfloat16}[execution.head_precision]
    detector = None
    if manifest.detector is not None:
        check_self_contained(folder / DETECTOR)
        detector = open_detector(folder / DETECTOR, manifest.detector.settings, execution)
    runs = OpenedRuns(
        graph.without(FEATURES), None if boxes is None else BoxRuns(graph, boxes), head, detector
    )
    predictor = _PREDICTORS[manifest.task](manifest, runs, execution.torch_device)

    def release() -> None:
        graph.shrink()
        if boxes is not None:
            boxes.shrink()
        if detector is not None:
            detector.release()

    return Bundle(manifest, predictor, graph.providers, execution, release)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raise BundleError unless every file of the bundle is there and is the one that was exported."""
    needed = {GRAPH} | ({POINT_HEAD} if manifest.model.point_head else set())
    needed |= {DETECTOR} if manifest.detector else set()
    if missing := sorted(needed - set(manifest.files)):
        raise BundleError(f"{folder} is damaged: the manifest lists no {', '.join(missing)}")
    for name, expected in manifest.files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise BundleError(f"{folder} is damaged: {name} is missing")
        if sha256(path) != expected:
            raise BundleError(
                f"{folder} is damaged: {name} is not the file that was exported (its hash differs)"
            )


def open_head(folder: Path, manifest: Manifest) -> PointHead | None:
    """Read the point head, or return None for a model without one. Raises BundleError."""
    config = manifest.model.point_head
    if config is None:
        return None
    head = PointHead(manifest.fine_channels, manifest.mask_classes, config)
    try:
        head.load_state_dict(load_file(folder / POINT_HEAD))
    except (RuntimeError, SafetensorError) as error:
        raise BundleError(f"{folder} is damaged: {POINT_HEAD} does not fit its {MANIFEST}") from error
    return head.eval().requires_grad_(False)


def sha256(path: Path) -> str:
    """Return the hash of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class OpenedRuns:
    """What computes the predictions of a bundle."""

    coarse: GraphRun
    boxes: BoxRuns | None
    head: PointHead | None
    detector: OnnxDetector | None


def _instance_predictor(manifest: Manifest, runs: OpenedRuns, device: torch.device) -> InstancePredictor:
    part, names = manifest.detector, [category.name for category in manifest.categories]
    return InstancePredictor(
        runs.coarse,
        runs.head,
        manifest.preprocessing,
        manifest.categories,
        manifest.fine_stride,
        device,
        runs.detector,
        0 if part is None else names.index(part.mask_class),
        runs.boxes,
    )


def _label_map_predictor(manifest: Manifest, runs: OpenedRuns, device: torch.device) -> LabelMapPredictor:
    assert manifest.model.task == "semantic"
    return LabelMapPredictor(
        runs.coarse,
        runs.head,
        manifest.preprocessing,
        manifest.categories,
        manifest.palette,
        manifest.model.stride,
        manifest.fine_stride,
        device,
    )


_PREDICTORS: Mapping[str, Callable[[Manifest, OpenedRuns, torch.device], Predictor]] = {
    "instance": _instance_predictor,
    "semantic": _label_map_predictor,
}
