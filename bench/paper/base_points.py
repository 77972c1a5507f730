"""The point head against its base, at points drawn as in training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.errors import CheckpointError
from model.config.semantic import SemanticConfig
from model.data.label_map_samples import LabelMapBatch, LabelMapTrainingSet, collate_label_maps
from model.data.label_maps import LabelMaps
from model.masks.palette import VOID
from model.networks.build import build_network
from model.pointrend.points import biased_random_points, draw_candidates, sample, top2_uncertainty
from model.predict.preprocess import network_input
from model.training.losses.semantic import mean_cross_entropy
from model.training.recipe import SemanticRecipe

_BATCH = 8  # images


@torch.inference_mode()
def at_points(
    checkpoint: Checkpoint[SemanticConfig],
    data: LabelMaps,
    recipe: SemanticRecipe,
    images: int,
    seed: int = 7,
) -> dict[str, dict[str, float]]:
    """Return cross-entropy and share of right labels of "base" and "point head", on augmented images of the data.

    Raises CheckpointError for a base model alone.
    """
    network = build_network(checkpoint.config, checkpoint.tensors)
    if network.point is None:
        raise CheckpointError("a base model alone has no point head to compare with")
    generator = torch.Generator().manual_seed(seed)
    totals = {name: np.zeros(3) for name in ("base", "point head")}  # loss, right, counted
    for batch in _batches(data, recipe, images, seed):
        maps = network(network_input(batch.images, checkpoint.config.preprocessing)[0])
        draws = draw_candidates(
            len(batch.images),
            recipe.points,
            recipe.oversample,
            recipe.importance,
            generator,
            maps.fine.device,
        )
        points = biased_random_points(maps.coarse, *draws, recipe.points, top2_uncertainty)
        labels = sample(batch.labels[:, None].float(), points, mode="nearest", padding="border")[:, 0].long()
        base = sample(maps.coarse, points)
        refined = network.point(sample(maps.fine, points).transpose(1, 2), base.transpose(1, 2))
        for name, logits in {"base": base, "point head": refined.transpose(1, 2)}.items():
            totals[name] += _counts(logits, labels)
    return {name: _shares(total) for name, total in totals.items()}


def _batches(data: LabelMaps, recipe: SemanticRecipe, images: int, seed: int) -> Iterator[LabelMapBatch]:
    views = LabelMapTrainingSet(data, recipe.augmentation, seed)
    chosen = np.random.default_rng(seed).integers(len(views), size=images).tolist()
    for start in range(0, images, _BATCH):
        yield collate_label_maps([views[index] for index in chosen[start : start + _BATCH]])


def _counts(logits: Tensor, labels: Tensor) -> list[float]:
    counted = labels != VOID
    right = (logits.argmax(1) == labels) & counted
    count = int(counted.sum())
    return [float(mean_cross_entropy(logits, labels, VOID)) * count, float(right.sum()), count]


def _shares(total: NDArray[np.float64]) -> dict[str, float]:
    loss, right, count = total.tolist()
    return {"cross_entropy": loss / count, "right": right / count}
