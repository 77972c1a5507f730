"""Is a bundle's detector the one that somebody trained? Both see the same pictures, and find the same boxes.

A detector has no PyTorch network here. The yardstick is its graph as it was given, run picture by picture as it is
written: without any of ONNX Runtime's optimisations. Compared with it is the bundle's, optimised and in batches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from export.detector.run import OnnxDetector, output_names
from export.measurements import Measurements
from export.session import GraphPass
from model.predict.detection import DetectedBoxes

MOST = 50  # detections of a picture, the surest, that are compared; at the end of a list rounding decides


def plain_detector(path: Path, detector: OnnxDetector) -> OnnxDetector:
    """Return a detector with the same settings, whose graph is run as it is written. It keeps all that it finds."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    settings = dataclasses.replace(detector.settings, score_threshold=0.0, max_detections=1000)
    plain = OnnxDetector(GraphPass(session, outputs=output_names(settings)), settings)
    plain.batched = False
    return plain


def compare_detectors(
    plain: OnnxDetector, shipped: OnnxDetector, pictures: Sequence[Tensor], into: Measurements
) -> None:
    """Measure how far boxes, scores and classes of a bundle's detector are from those of the plain one."""
    surest = dataclasses.replace(shipped.settings, score_threshold=0.0, max_detections=MOST)
    batch = shipped.with_settings(surest)(pictures)
    for picture, found in zip(pictures, batch, strict=True):
        (expected,) = plain([picture])
        nearest = _nearest(found, expected)
        into.compare("detector's boxes", expected.boxes[nearest], found.boxes)
        into.compare("detector's scores", expected.scores[nearest], found.scores)
        first = slice(0, len(found))
        into.boxes("detector", (expected.boxes[first], expected.classes[first]), (found.boxes, found.classes))


def _nearest(found: DetectedBoxes, among: DetectedBoxes) -> Tensor:
    """Return for each detection the index of the nearest one of its class, by box and score."""
    if not len(among):
        return torch.zeros(0, dtype=torch.int64)
    distance = torch.cdist(found.boxes, among.boxes, p=float("inf")) / among.boxes.max().clamp(min=1)
    distance = torch.maximum(distance, (found.scores[:, None] - among.scores).abs())
    distance[found.classes[:, None] != among.classes] = float("inf")
    return distance.argmin(1)
