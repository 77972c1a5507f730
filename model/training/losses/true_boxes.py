"""Regions for masks that train in true boxes, as a network is used that is given boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.data.instance_samples import Target
from model.networks import boxes as box
from model.training.losses.detection import Rois
from model.training.recipe import Sampling

_LEAST_SIDE = 1.0  # pixels


def true_rois(
    targets: Sequence[Target], sizes: Tensor, sampling: Sampling, generator: torch.Generator | None
) -> Rois:
    """Return as many regions of each image as other training has positive ones: its boxes with masks, in random turns.

    An image with one object so weighs as much as one with many. Half of the regions are the boxes themselves, the
    others are moved as detectors would (see `moved`). sizes [B, 2] is (height, width) without padding.
    """
    count = int(sampling.rois * sampling.roi_positives)
    parts: list[tuple[Tensor, ...]] = []
    for i, target in enumerate(targets):
        known = target.trains_masks().nonzero()[:, 0]
        turns = torch.randperm(len(known), generator=generator, device=known.device).repeat(count)[:count]
        chosen = known[turns]
        goals = target.boxes[chosen]
        places = box.clip(moved(goals, sampling.jitter, generator)[None], sizes[i : i + 1])[0]
        usable = ((places[:, 2:] - places[:, :2]) >= _LEAST_SIDE).all(1, keepdim=True)
        places = torch.where(usable, places, goals)
        image = torch.full_like(chosen, i)
        foreground = torch.ones_like(chosen, dtype=torch.bool)
        parts.append((places, image, target.classes[chosen], chosen, goals, foreground))
    return Rois(*(torch.cat(column) for column in zip(*parts, strict=True)))


def moved(boxes: Tensor, jitter: float, generator: torch.Generator | None) -> Tensor:
    """Return boxes [N, 4], about half of them with each edge moved by a normal number of box sides.

    Its deviation is drawn for each box, from 0 to `jitter`.
    """
    share = torch.rand(len(boxes), 1, generator=generator, device=boxes.device)
    deviation = jitter * (2 * share - 1).clamp(min=0)
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return boxes + deviation * sides * torch.randn(boxes.shape, generator=generator, device=boxes.device)
