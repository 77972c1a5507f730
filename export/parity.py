"""Is the bundle the network? Both see the same images and boxes; the largest differences are the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou
from tqdm import tqdm

from model.config.parts import Preprocessing
from model.predict.coarse import InstanceCoarse, no_prompts
from model.predict.instance import InstanceOptions, InstancePredictor, Region
from model.predict.predictor import Prepared, Prompt
from model.predict.preprocess import resized_size

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Tolerance:
    """What a float32 graph may differ by (measured noise is 10 to 100 times smaller)."""

    relative: float = 1e-3  # of a map's largest value
    score: float = 1e-3
    box: float = 0.1  # pixels
    # Cut-offs (NMS, thresholds, the best N) are steps: rounding may flip one. Detections that only one side finds:
    unmatched_per_image: float = 2.0
    unmatched_share: float = 0.02
    mask_iou: float = 0.98  # of each pair of masks


@dataclass(frozen=True)
class Case:
    """One compared batch."""

    images: int
    height: int
    width: int
    detections: int
    fine: float  # max abs difference of the projected fine map
    fine_largest: float  # the map's own max abs value
    coarse: float  # the same two of the projected coarse masks of the given boxes
    coarse_largest: float
    score: float  # max abs difference
    box: float  # max abs difference, pixels
    unmatched: int  # detections that only the network, or only the bundle, found
    mask_iou: float

    def failures(self, allowed: Tolerance) -> list[str]:
        """Which tolerances are broken, in words."""
        tolerated = allowed.unmatched_per_image * self.images + allowed.unmatched_share * self.detections
        checks = (
            ("fine map", fine := self.fine / max(self.fine_largest, 1e-9), fine <= allowed.relative),
            (
                "coarse masks",
                coarse := self.coarse / max(self.coarse_largest, 1e-9),
                coarse <= allowed.relative,
            ),
            ("scores", self.score, self.score <= allowed.score),
            ("boxes", self.box, self.box <= allowed.box),
            ("detections that only one found", self.unmatched, self.unmatched <= tolerated),
            ("mask IoU", self.mask_iou, self.mask_iou >= allowed.mask_iou),
        )
        return [f"{name} {value:.4g}" for name, value, good in checks if not good]


def compare(
    eager: InstancePredictor, exported: InstancePredictor, images: Sequence[NDArray[np.uint8]]
) -> Case:
    """Run both on one batch (images of one size), with two given boxes an image, and measure."""
    height, width = images[0].shape[:2]
    boxes = ((0.1, 0.1, 0.6, 0.9), (0.3, 0.2, 0.95, 0.7))
    scale = np.array([width, height, width, height])
    prompts = tuple(Prompt((*(np.array(box) * scale).tolist(),), 0) for box in boxes)
    batch = [eager.prepare(image, prompts) for image in images]
    expected, found = eager.coarse(batch), exported.coarse(batch)
    given = len(prompts) * len(images)
    own, other = _pairs(expected, found, given)
    detections = len(expected.boxes) - given
    ious = []
    for i, prepared in enumerate(batch):
        everything = dataclasses.replace(prepared, prompts=None)
        ious += _mask_ious(*(_masks(p, c, i, everything) for p, c in ((eager, expected), (exported, found))))
    return Case(
        len(images),
        height,
        width,
        detections,
        _largest(expected.fine - found.fine),
        _largest(expected.fine),
        _largest(expected.coarse[detections:] - found.coarse[len(found.boxes) - given :]),
        _largest(expected.coarse[detections:]),
        _largest(expected.scores[own] - found.scores[other]),
        _largest(expected.boxes[own] - found.boxes[other]),
        len(expected.boxes) + len(found.boxes) - 2 * len(own),
        min(ious, default=1.0),
    )


def check(eager: InstancePredictor, exported: InstancePredictor, *, full_size: bool = True) -> dict[str, Any]:
    """The parity report of a bundle: batches of 1 and 3, several sizes, a picture of nothing, no region at all.

    "passed" is False, and "failures" say why, where a difference is above `Tolerance`.
    """
    pixels, allowed = eager.preprocessing, Tolerance()
    judged = []
    for batch, there in trials(pixels, full_size):
        one, other = (dataclasses.replace(p, preprocessing=there) for p in (eager, exported))
        case = compare(one, other, batch)
        judged.append((case, case.failures(allowed)))
    expected, found = (no_regions(predictor, pixels.stride) for predictor in (eager, exported))
    empty = [f"no regions: the graph's outputs have {found} rows, the network's {expected}"]
    return report(judged, allowed, empty if found != expected else [])


def trials(pixels: Preprocessing, full_size: bool) -> Iterator[tuple[list[NDArray[np.uint8]], Preprocessing]]:
    """Batches of pictures, each with the preprocessing that leaves them their size; with a progress bar."""
    largest = resized_size(480, 640, pixels.short_edge, pixels.long_edge)
    small = (largest[0] // 2, largest[1] // 2)
    shapes = [(1, small), (3, small), (1, (small[1], small[0])), (1, (small[0], small[0]))]
    if full_size:
        shapes.append((1, largest))
    batches = [[picture(height, width, seed) for seed in range(n)] for n, (height, width) in shapes]
    batches.append([nobody(*small)])
    for batch in tqdm(batches, desc="parity", unit="batch"):
        edges = batch[0].shape[:2]
        yield batch, dataclasses.replace(pixels, short_edge=min(edges), long_edge=max(edges))


class Compared(Protocol):
    """A dataclass of one compared batch."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def images(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...


def report(
    judged: Sequence[tuple[Compared, list[str]]], allowed: DataclassInstance, more: Sequence[str] = ()
) -> dict[str, Any]:
    """Of compared batches with what is wrong with each, and what else is wrong."""
    failures = [
        f"{case.images}×{case.height}×{case.width}: {', '.join(problems)}"
        for case, problems in judged
        if problems
    ]
    return {
        "passed": not (failures or more),
        "failures": [*failures, *more],
        "tolerance": asdict(allowed),
        "cases": [asdict(case) for case, _ in judged],
    }


def no_regions(predictor: InstancePredictor, stride: int) -> list[int]:
    """Rows of the outputs for a picture that is padding only, so that nothing is found in it.

    Rows alone: ONNX Runtime gives other lengths to empty tensors that it should have summed over an axis.
    """
    nothing = torch.zeros(1, 3, 2 * stride, 2 * stride)
    return [len(output) for output in predictor.run(nothing, torch.zeros(1, 2), *no_prompts())]


def table(report: dict[str, Any]) -> str:
    """The report as text for a person: max abs differences, those of maps with the map's own largest value."""
    head = (
        f"{'batch':>14} {'found':>5} {'fine map':>17} {'coarse masks':>17} {'score':>8} {'box px':>8} "
        f"{'alone':>6} {'IoU':>7}"
    )
    rows = [
        f"{c['images']}×{c['height']}×{c['width']}".rjust(14)
        + f" {c['detections']:5d} {c['fine']:8.1e} of {c['fine_largest']:<5.3g}"
        + f" {c['coarse']:8.1e} of {c['coarse_largest']:<5.3g} {c['score']:8.1e} {c['box']:8.1e}"
        + f" {c['unmatched']:6d} {c['mask_iou']:7.4f}"
        for c in report["cases"]
    ]
    return "\n".join([head, *rows])


def picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A made-up picture with shapes and texture, so that networks have something to see: [H, W, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([128 + 60 * np.sin(x / 37 + c) + 40 * np.cos(y / 23 + 2 * c) for c in range(3)], -1)
    for _ in range(8):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        rx, ry = rng.uniform(0.04, 0.25, 2) * (width, height)
        inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        image[inside] = rng.uniform(0, 255, 3)
    return np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)


def nobody(height: int, width: int) -> NDArray[np.uint8]:
    """A grey picture of nothing: [H, W, 3]. With faint noise: where all places look the same, their scores are equal,
    and which of them stay is a matter of rounding."""
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    return np.clip(124 + noise, 0, 255).astype(np.uint8)


def _pairs(expected: InstanceCoarse, found: InstanceCoarse, given: int) -> tuple[Tensor, Tensor]:
    """Indices of regions that both found: same image and class, and boxes that are each other's best."""
    same = (expected.batch[:, None] == found.batch) & (expected.classes[:, None] == found.classes)
    same[: len(same) - given, same.shape[1] - given :] = False
    same[len(same) - given :, : same.shape[1] - given] = False
    iou = torch.where(same, box_iou(expected.boxes, found.boxes), torch.zeros(()))
    best = iou.argmax(1)
    own = torch.arange(len(iou))
    mutual = (iou.argmax(0)[best] == own) & (iou[own, best] > 0.9)
    return own[mutual], best[mutual]


def _masks(
    predictor: InstancePredictor, coarse: InstanceCoarse, index: int, prepared: Prepared
) -> list[Region]:
    options = InstanceOptions(resolution=112, score=0.0, max_instances=len(coarse.boxes))
    regions = predictor.regions(coarse, index, prepared, options)
    predictor.render(regions)
    return regions


def _mask_ious(expected: list[Region], found: list[Region]) -> list[float]:
    """IoU of the masks of regions with the same box, on the masks' own grids."""
    ious = []
    for one in expected:
        for other in found:
            if one.category == other.category and np.abs(one.box - other.box).max() < 0.5:
                a, b = one.render.probability() >= 0.5, other.render.probability() >= 0.5
                ious.append(float((a & b).sum() / max(int((a | b).sum()), 1)) if bool((a | b).any()) else 1.0)
                break
    return ious


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0
