"""A detector's ONNX graph as the function that a predictor calls: images → boxes, scores, classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from export.detector.outputs import RawDetections, raw_detections
from export.detector.pixels import Placement, detector_input, normalised, place
from export.detector.settings import DetectorSettings
from export.errors import BundleError
from export.execution import Execution
from export.session import GraphPass, open_pass
from model.config.categories import COCO, Category
from model.predict.detection import DetectedBoxes
from model.predict.predictor import CPU

DETECTOR = "detector.onnx"  # its file in a bundle
IMAGE_TYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(uint8)": torch.uint8}
SIZE_TYPES = {"tensor(int64)": torch.int64, "tensor(int32)": torch.int32, "tensor(float)": torch.float32}


def detector_categories(settings: DetectorSettings, mask_class: str) -> tuple[Category, ...]:
    """Return the categories of a model: the detector's classes in their order, then the mask head's, unless among them.

    They have COCO's ids if all of the detector's are COCO's; otherwise they are numbered from 1. What is not COCO's
    comes after them.
    """
    ids = {category.name: category.id for category in COCO}
    known = all(name in ids for name in settings.class_names)
    found = [Category(ids[name] if known else i, name) for i, name in enumerate(settings.class_names, 1)]
    if mask_class not in settings.class_names:
        found.append(Category(ids.get(mask_class, COCO[-1].id + 1) if known else len(found) + 1, mask_class))
    return tuple(found)


def output_names(settings: DetectorSettings) -> list[str]:
    """Return the names of the graph's outputs that are needed."""
    return list(dict.fromkeys(getattr(settings.output, kind) for kind in settings.output.names))


class OnnxDetector:
    """A detector that ONNX Runtime runs (see `BoxDetector`).

    Images share a run if the graph's number of images is dynamic; otherwise they are run one by one.
    """

    def __init__(self, run: GraphPass, settings: DetectorSettings, device: torch.device = CPU) -> None:
        self.settings, self._run, self._device = settings, run, device
        self.batched = not isinstance(run.inputs[settings.input.image][1][0], int)
        self._image_type = IMAGE_TYPES[run.inputs[settings.input.image][0]]
        self._size_type = SIZE_TYPES[run.inputs[settings.input.size][0]] if settings.input.size else None
        indices = {name: i for i, name in enumerate(settings.class_names)}
        known = [-1 if name is None else indices[name] for name in settings.classes]
        self._indices = torch.tensor(known)  # of categories, by label; -1: of none

    def with_settings(self, settings: DetectorSettings) -> OnnxDetector:
        """Return a detector of the same graph with other settings."""
        return OnnxDetector(self._run, settings, self._device)

    def __call__(self, images: Sequence[Tensor]) -> list[DetectedBoxes]:
        """Return what is found in each of these RGB images, uint8 [3, h, w] of any sizes."""
        places = [place(image.shape[-2], image.shape[-1], self.settings.input) for image in images]
        size = max(1, len(images)) if self.batched else 1
        found: list[DetectedBoxes] = []
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            raw = self.raw(images[part], places[part])
            found += map(self._chosen, *raw, images[part], places[part])
        return found

    def raw(self, images: Sequence[Tensor], places: Sequence[Placement]) -> RawDetections:
        """Return all that one run of the graph finds in these images, on the host."""
        given = self.settings.input
        outputs = self._run(self.inputs(images, places))
        found = raw_detections(outputs, len(images), given, self.settings.output)
        return RawDetections(*(tensor.cpu() for tensor in found))

    def inputs(self, images: Sequence[Tensor], places: Sequence[Placement]) -> dict[str, Tensor]:
        """Return the inputs of a run of the graph."""
        given = self.settings.input
        pixels = torch.stack(
            [
                detector_input(image.to(self._device), where, given)
                for image, where in zip(images, places, strict=True)
            ]
        )
        scaled = pixels.flip(1) if given.channels == "BGR" else pixels
        if self._image_type != torch.uint8:
            scaled = normalised(pixels, given)
        found = {given.image: scaled.to(self._image_type)}
        if given.size is not None:
            order = [given.width, given.height]
            sides = order if given.size_order == "width, height" else order[::-1]
            found[given.size] = torch.tensor(
                [sides] * len(images), dtype=self._size_type, device=self._device
            )
        return found

    def release(self) -> None:
        """Give back the memory that is kept for later runs."""
        given = self.settings.input
        blank = torch.zeros(3, given.height, given.width, dtype=torch.uint8)
        self._run.shrink(self.inputs([blank], [place(given.height, given.width, given)]))

    def _chosen(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, image: Tensor, where: Placement
    ) -> DetectedBoxes:
        """Return the detections of one image that count, best first: known classes, sure enough, inside the image."""
        height, width = image.shape[-2:]
        boxes = where.to_image(boxes)
        boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
        sides = boxes[:, 2:] - boxes[:, :2]
        inside = (labels >= 0) & (labels < len(self._indices))
        classes = torch.where(
            inside, self._indices[labels.clamp(0, len(self._indices) - 1)], torch.full_like(labels, -1)
        )
        # Comparisons with NaN are false, so boxes and scores that are no numbers are left out.
        kept = (classes >= 0) & (scores >= self.settings.score_threshold) & (sides > 0).all(1)
        kept &= boxes.isfinite().all(1) & (scores <= 1)
        rows = kept.nonzero()[:, 0]
        order = scores[rows].argsort(descending=True, stable=True)[: self.settings.max_detections]
        rows = rows[order]
        return DetectedBoxes(boxes[rows], scores[rows], classes[rows])


def open_detector(path: Path, settings: DetectorSettings, execution: Execution) -> OnnxDetector:
    """Open the detector of a bundle. ONNX Runtime runs it, whatever runs the coarse pass. Raises BundleError."""
    run = open_pass(path, replace(execution, precision="fp32"), output_names(settings))
    try:
        return OnnxDetector(run, settings, execution.torch_device)
    except KeyError as error:
        raise BundleError(f"{path} does not fit its settings: it has no usable input {error}") from error
