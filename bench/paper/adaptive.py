"""How close the adaptive render comes to evaluating every cell, by how many points it may evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from model.data.coco import CocoDataset
from model.data.coco_samples import read_image
from model.pointrend.point_head import PointHead
from model.pointrend.render import InstanceRender, render, render_dense, total_points
from model.predict.instance import InstanceOptions, InstancePredictor

SIDES = (224, 448)
POINTS: tuple[int | None, ...] = (49, 98, 196, 392, 784, 1568, 3136, None)  # per level; None: auto
WORST = 1.0  # percentile
Grid = NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """Adaptive against dense masks of one side, over all instances."""

    points: int | None  # per level; None: auto
    share: float  # of the grid's cells, points evaluated over all levels
    mean_iou: float
    worst_iou: float  # of the worst 1 %: the first percentile
    differing: float  # mean share of cells that are decided otherwise


def curves(
    predictor: InstancePredictor, dataset: CocoDataset, options: InstanceOptions, limit: int | None = None
) -> dict[str, Any]:
    """JSON-ready: {"instances": N, "sides": {"224": [Agreement, …], …}}, on the instances that the options find.

    Raises ValueError if the predictor has no point head, or nothing is found.
    """
    if predictor.head is None:
        raise ValueError("the checkpoint has a 4×conv mask head: there is nothing to render adaptively")
    compared: dict[tuple[int, int | None], list[tuple[float, float]]] = {
        (s, p): [] for s in SIDES for p in POINTS
    }
    for record in tqdm(dataset.records[:limit], unit="image"):
        prepared = predictor.prepare(read_image(record))
        regions = predictor.regions(predictor.coarse([prepared]), 0, prepared, options)
        for side in SIDES:
            found = compare([region.render for region in regions], predictor.head, side, POINTS)
            for points, pairs in zip(POINTS, found, strict=True):
                compared[side, points] += pairs
    count = len(compared[SIDES[0], None])
    if not count:
        raise ValueError(f"no instance is found above score {options.score:g}")
    sides = {str(side): [asdict(_agreement(side, p, compared[side, p])) for p in POINTS] for side in SIDES}
    return {"instances": count, "score": options.score, "sides": sides}


@torch.inference_mode()
def compare(
    renders: Sequence[InstanceRender], head: PointHead, side: int, points: Sequence[int | None]
) -> list[list[tuple[float, float]]]:
    """For each number of points, for each render: IoU with the dense mask, and the share of other decisions."""
    dense = _masks(renders, head, side, None, dense=True)
    return [
        [_pair(mask, full) for mask, full in zip(_masks(renders, head, side, count), dense, strict=True)]
        for count in points
    ]


def _masks(
    renders: Sequence[InstanceRender], head: PointHead, side: int, points: int | None, *, dense: bool = False
) -> list[Grid]:
    """Foreground [side, side] of each render, from its start."""
    fresh = [replace(r, side=side, points=points, logits=None) for r in renders]
    (render_dense if dense else render)(fresh, head)
    return [r.logits.numpy() >= 0 for r in fresh if r.logits is not None]


def _pair(mask: Grid, full: Grid) -> tuple[float, float]:
    union = int((mask | full).sum())
    return (float((mask & full).sum()) / union if union else 1.0), float((mask ^ full).mean())


def _agreement(side: int, points: int | None, pairs: list[tuple[float, float]]) -> Agreement:
    ious, differing = np.array(pairs).T
    share = total_points(side, points) / side**2
    worst = float(np.percentile(ious, WORST))
    return Agreement(points, share, float(ious.mean()), worst, float(differing.mean()))
