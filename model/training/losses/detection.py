"""The training losses of Faster R-CNN: proposals and boxes (reference behaviour)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from model.data.instance_samples import Target
from model.networks import boxes as box
from model.networks import rpn
from model.networks.box_head import BoxHead
from model.networks.mask_rcnn import MaskRCNN
from model.networks.rpn import Proposals
from model.training.recipe import Sampling

Losses = dict[str, Tensor]

_MOST_MOVED = 2  # sides of the image; masks train in no larger box


def rpn_losses(
    logits: list[Tensor],
    deltas: list[Tensor],
    anchors: list[Tensor],
    targets: Sequence[Target],
    sampling: Sampling,
    generator: torch.Generator | None,
) -> Losses:
    """Return BCE of the objectness and L1 of the deltas over sampled anchors, both divided by the number asked for."""
    scores, moves, places = torch.cat(logits, 1), torch.cat(deltas, 1), torch.cat(anchors)
    norm = sampling.anchors * len(targets)
    objectness, regression = scores.sum() * 0, moves.sum() * 0
    for i, target in enumerate(targets):
        index, labels = box.match(box_iou(target.boxes, places), *sampling.anchor_iou, keep_best=True)
        labels = without_ignored(labels, places, target)
        positive, negative = box.subsample(labels, sampling.anchors, sampling.anchor_positives, generator)
        chosen = torch.cat([positive, negative])
        objectness = objectness + F.binary_cross_entropy_with_logits(
            scores[i, chosen], (labels[chosen] == 1).float(), reduction="sum"
        )
        if len(positive):
            goal = box.encode(target.boxes[index[positive]], places[positive], box.RPN_WEIGHTS)
            regression = regression + F.l1_loss(moves[i, positive], goal, reduction="sum")
    return {"rpn_objectness": objectness / norm, "rpn_box": regression / norm}


def without_ignored(labels: Tensor, places: Tensor, target: Target) -> Tensor:
    """Return labels [N] of `box.match` with -1 for the negatives that lie at least half in an ignored box."""
    if target.ignored is None:
        return labels
    return labels.masked_fill((labels == 0) & (box.covered(places, target.ignored) >= 0.5), -1)


@dataclass(frozen=True, eq=False)
class Rois:
    """Sampled regions of a batch: a row for each of R."""

    boxes: Tensor  # [R, 4]
    batch: Tensor  # [R] which image
    classes: Tensor  # [R] background is the last one
    target: Tensor  # [R] index among the image's targets
    goals: Tensor  # [R, 4] that target's box
    masked: Tensor  # [R] foreground whose mask is known

    def take(self, keep: Tensor, boxes: Tensor) -> Rois:
        """Return the regions of `keep`, with other boxes."""
        kept = (self.batch, self.classes, self.target, self.goals, self.masked)
        return Rois(boxes, *(member[keep] for member in kept))


def training_rois(
    network: MaskRCNN,
    found: tuple[list[Tensor], list[Tensor], list[Tensor]],
    sizes: Tensor,
    targets: Sequence[Target],
    sampling: Sampling,
    generator: torch.Generator | None,
) -> Rois:
    """Draw regions from what the RPN found (see RPN.forward), with the limits of training."""
    threshold = network.config.rpn.nms_threshold
    proposals = rpn.select(
        *found, sizes, pre_nms=sampling.pre_nms, post_nms=sampling.post_nms, nms_threshold=threshold
    )
    return sample_rois(proposals, targets, sampling, network.config.num_classes, generator)


def sample_rois(
    proposals: Proposals,
    targets: Sequence[Target],
    sampling: Sampling,
    num_classes: int,
    generator: torch.Generator | None,
) -> Rois:
    """Match proposals (and the targets themselves) to targets, and draw foreground and background."""
    parts: list[tuple[Tensor, ...]] = []
    for i, target in enumerate(targets):
        places = torch.cat([proposals.boxes[i][proposals.logits[i] > rpn.LOWEST], target.boxes])
        index, labels = _matched(places, target, sampling)
        chosen = torch.cat(box.subsample(labels, sampling.rois, sampling.roi_positives, generator))
        parts.append(_regions(places, i, target, index, labels, chosen, num_classes))
    return _joined(parts)


def moved_rois(
    rois: Rois, moved: Tensor, targets: Sequence[Target], sampling: Sampling, num_classes: int
) -> Rois:
    """Return regions where the box head moved them [R, 4], matched to targets anew: what a refined box is judged by."""
    parts: list[tuple[Tensor, ...]] = []
    for i, target in enumerate(targets):
        places = moved[rois.batch == i]
        index, labels = _matched(places, target, sampling)
        parts.append(_regions(places, i, target, index, labels, (labels >= 0).nonzero()[:, 0], num_classes))
    return _joined(parts)


def _matched(places: Tensor, target: Target, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Return for places [N, 4] the index [N] of their targets, and labels [N]: 1 object, 0 background, -1 neither."""
    index, labels = box.match(
        box_iou(target.boxes, places), sampling.roi_iou, sampling.roi_iou, keep_best=False
    )
    return index, without_ignored(labels, places, target)


def _regions(
    places: Tensor,
    image: int,
    target: Target,
    index: Tensor,
    labels: Tensor,
    chosen: Tensor,
    num_classes: int,
) -> tuple[Tensor, ...]:
    """Return the fields of `Rois` for the chosen of an image's places [N, 4]."""
    foreground = labels[chosen] == 1
    background = torch.full_like(chosen, num_classes)
    if len(target.boxes):
        classes = torch.where(foreground, target.classes[index[chosen]], background)
        goals = target.boxes[index[chosen]]
        masked = foreground & target.trains_masks()[index[chosen]]
    else:
        classes, goals, masked = background, places[chosen], foreground
    return places[chosen], torch.full_like(chosen, image), classes, index[chosen], goals, masked


def _joined(parts: Sequence[tuple[Tensor, ...]]) -> Rois:
    return Rois(*(torch.cat(column) for column in zip(*parts, strict=True)))


def box_losses(head: BoxHead, pyramid: list[Tensor], rois: Rois) -> tuple[Losses, Tensor]:
    """Return cross-entropy and L1 (over all regions), and the regions' boxes [R, 4] as the head moves them.

    They are moved as the target's class is, those of the background as the most probable class, and neither clipped
    nor filtered.
    """
    logits, deltas = head(pyramid, rois.boxes, rois.batch)
    background = logits.shape[1] - 1
    foreground = (rois.classes < background).nonzero()[:, 0]
    own = deltas[foreground, rois.classes[foreground]]
    goal = box.encode(rois.goals[foreground], rois.boxes[foreground], box.BOX_WEIGHTS)
    count = max(len(rois.classes), 1)
    result = {
        "box_class": F.cross_entropy(logits, rois.classes, reduction="sum") / count,
        "box_regression": F.l1_loss(own, goal, reduction="sum") / count,
    }
    with torch.no_grad():
        classes = torch.where(rois.classes < background, rois.classes, logits[:, :-1].argmax(1))
        moves = deltas.gather(1, classes[:, None, None].expand(-1, 1, 4))[:, 0]
        moved = box.decode(moves, rois.boxes, box.BOX_WEIGHTS)
        # A diverged run must get to its loss, to be reported: RoIAlign reads out of bounds at NaN (which
        # no comparison admits), and the cost of targets grows with the box's area.
        limit = _MOST_MOVED * 4 * max(pyramid[0].shape[-2:])
        possible = (moved[:, 2:] - moved[:, :2] <= limit).all(1, keepdim=True)
    return result, torch.where(possible, moved, rois.boxes)


def mask_rois(rois: Rois, moved: Tensor, sampling: Sampling) -> Rois:
    """Return the regions that masks train in: those of objects whose mask is known, where `box_losses` moved them."""
    keep = rois.masked.nonzero()[:, 0]
    return rois.take(keep, (moved if sampling.predicted_boxes else rois.boxes)[keep])
