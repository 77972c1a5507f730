"""What all heads share: one checkpoint's frozen backbone and detector, and the masks of a head in its boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from bench.paper.heads.variants import Head
from export.bundle import sha256
from model.checkpoints.checkpoint import Checkpoint, of_task, open_checkpoint
from model.config.instance import MaskRCNNConfig
from model.data.coco import CocoDataset, Record, read_image
from model.networks.box_head import Detections
from model.networks.build import build_network
from model.networks.eager import predictor_of
from model.networks.mask_heads import own_class
from model.networks.mask_rcnn import MaskRCNN
from model.pointrend.levels import native_side
from model.pointrend.render import advance
from model.predict.coarse import InstanceCoarse
from model.predict.instance import InstanceOptions, InstancePrediction, InstancePredictor
from model.predict.predictor import Prepared


@dataclass(frozen=True)
class Seen:
    """One image after the backbone."""

    prepared: Prepared
    pyramid: list[Tensor]  # P2–P6, one image
    size: Tensor  # [1, 2] height, width without padding


@dataclass(frozen=True)
class Detector:
    """A checkpoint's network in evaluation mode, without gradients."""

    network: MaskRCNN
    predictor: (
        InstancePredictor  # with the checkpoint's own head; it chooses regions for the other heads, too
    )
    checkpoint: Checkpoint[MaskRCNNConfig]
    sha256: str

    @staticmethod
    def open(path: Path) -> Detector:
        """Open a native checkpoint. Raises CheckpointError."""
        checkpoint = of_task(open_checkpoint(path), "instance")
        # Scores of the boxes alone, so that every head is shown the same detections in the same order.
        checkpoint = replace(checkpoint, config=replace(checkpoint.config, mask_score=False))
        network = build_network(checkpoint.config, checkpoint.tensors).requires_grad_(False)
        return Detector(network, predictor_of(network, checkpoint.categories), checkpoint, sha256(path))

    @torch.inference_mode()
    def see(self, image: NDArray[np.uint8]) -> Seen:
        """Return the backbone features of an RGB image [H, W, 3] at the shipped input size."""
        prepared = self.predictor.prepare(image, InstanceOptions())
        inputs = self.predictor.inputs([prepared])
        return Seen(prepared, self.network.backbone(inputs["image"]), inputs["size"])

    @torch.inference_mode()
    def detect(self, seen: Seen) -> Detections:
        """Return the boxes that the checkpoint finds. They do not depend on the mask head."""
        return self.network.detect(seen.pyramid, self.network.propose(seen.pyramid, seen.size), seen.size)

    def each(self, dataset: CocoDataset, limit: int | None) -> Iterator[tuple[Record, Seen]]:
        """Yield the first images of a data set (None: all), with a progress bar."""
        for record in tqdm(dataset.records[:limit], unit="image"):
            yield record, self.see(read_image(record))


def given(seen: Seen, boxes: Sequence[Sequence[float]], classes: Sequence[int]) -> Detections:
    """Return boxes in image pixels, of known classes (indices), as if they were detections."""
    places = seen.prepared.to_network(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    count = len(places)
    own = torch.tensor(classes, dtype=torch.int64)
    return Detections(places, torch.ones(count), own, torch.zeros(count, dtype=torch.int64))


@torch.inference_mode()
def coarse_pass(head: Head, seen: Seen, found: Detections) -> InstanceCoarse:
    """Return a head's prediction for the found boxes, as the coarse pass would (see model/predict/coarse.py)."""
    logits = head(seen.pyramid, found.boxes, found.batch)
    if head.point is None:
        cells = own_class(logits, found.classes).flatten(1)[..., None]
        fine = torch.zeros(1, 0, 0, 0)
    else:
        cells = head.point.project_coarse(logits, found.classes)
        fine = head.point.project_fine(seen.pyramid[0])
    return InstanceCoarse(*found, cells, fine)


@torch.inference_mode()
def masks(
    predictor: InstancePredictor, head: Head, seen: Seen, coarse: InstanceCoarse, options: InstanceOptions
) -> InstancePrediction:
    """Return a head's rendered masks at the options' resolution.

    PointRend's heads render adaptively, as served. The others' logits are upsampled bilinearly
    (align_corners=False) to the same side.
    """
    served = replace(predictor, head=head.point)
    prediction = served.begin(coarse, 0, seen.prepared, options)
    if head.point is not None:
        served.render([prediction])
        return prediction
    for region in prediction.regions:
        width, height = (region.box[2:] - region.box[:2]).tolist()
        side = native_side(width, height) if options.resolution == "native" else options.resolution
        assert region.render.logits is not None
        own = region.render.logits[None, None]
        finer = F.interpolate(own, size=(side, side), mode="bilinear", align_corners=False)
        region.render.logits = finer[0, 0]
    return prediction


@torch.inference_mode()
def masks_by_output(
    predictor: InstancePredictor,
    head: Head,
    seen: Seen,
    coarse: InstanceCoarse,
    options: Mapping[str, InstanceOptions],
) -> dict[str, InstancePrediction]:
    """Return `masks` at several resolutions, with as many points as `auto` takes.

    PointRend's heads need one render, of which every resolution is a level.
    """
    assert all(asked.points is None for asked in options.values())  # other points have other levels
    point = head.point
    if point is None:
        return {name: masks(predictor, head, seen, coarse, asked) for name, asked in options.items()}
    served = replace(predictor, head=point)
    found = {name: served.begin(coarse, 0, seen.prepared, asked) for name, asked in options.items()}
    renders = list(zip(*(prediction.renders for prediction in found.values()), strict=True))
    finest = [max(own, key=lambda r: r.target) for own in renders]
    while pending := [i for i, render in enumerate(finest) if not render.done]:
        advance([finest[i] for i in pending], point)
        for i in pending:
            for render in renders[i]:
                if render.target == finest[i].level:
                    render.logits = finest[i].logits
    return found
