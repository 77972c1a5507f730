"""How close an adaptive label map comes to evaluating every cell, by how many points it may evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bench.paper.report import table
from model.data.label_maps import VOID, LabelMaps
from model.evaluation.iou import boundary_overlap, confusion, iou, mean, overlap
from model.evaluation.semantic import check_classes
from model.pointrend.label_map import dense_labels, render
from model.predict.label_map import LabelMapOptions, LabelMapPredictor

SCALES = (1, 2)  # of the images' own height
POINTS: tuple[int | None, ...] = (375, 750, 1500, 3000, 6000, 12000, 24000, None)  # per level; None: auto
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Agreement:
    """Adaptive against dense label maps of one scale, over all images."""

    points: int | str  # per level; "auto"; "dense": every cell of the map itself
    share: float  # of the map's cells, points evaluated over all levels
    equal: float  # share of the counted cells that have the dense map's class
    miou: float  # against the truth
    boundary_miou: float


@dataclass
class _Tally:
    """Counts of one way to render, over images."""

    classes: int
    evaluated: int = 0
    cells: int = 0
    equal: int = 0
    counted: int = 0
    area: NDArray[np.int64] = field(init=False)
    bands: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.area = np.zeros((self.classes, self.classes), np.int64)
        self.bands = np.zeros((2, self.classes), np.int64)

    def add(self, found: Labels, dense: Labels, truth: Labels, points: int) -> None:
        self.evaluated += points
        self.cells += found.size
        self.equal += int(((found == dense) & (truth != VOID)).sum())
        self.counted += int((truth != VOID).sum())
        self.area += confusion(truth, found, self.classes)
        self.bands += boundary_overlap(truth, found, self.classes)

    def result(self, points: int | str) -> Agreement:
        areas, bands = mean(iou(overlap(self.area))), mean(iou(self.bands))
        return Agreement(points, self.evaluated / self.cells, self.equal / max(self.counted, 1), areas, bands)


def curves(
    predictor: LabelMapPredictor,
    data: LabelMaps,
    every: int = 1,
    scales: Sequence[int] = SCALES,
    points: Sequence[int | None] = POINTS,
) -> dict[str, Any]:
    """JSON-ready: {"images": N, "scales": {"1": [Agreement, …], …}}, on each `every`th image.

    The truth of a scale above 1 is the images' own, each pixel a square of cells. Raises ValueError if
    the predictor has no point head, or other classes than the data.
    """
    check_classes(predictor, data)
    head = predictor.head
    if head is None:
        raise ValueError("the checkpoint has no point head: there is nothing to render adaptively")
    ways = [*points, "dense"]
    tallies = {(s, w): _Tally(len(predictor.categories)) for s in scales for w in ways}
    chosen = range(0, len(data.pairs), every)
    for index in tqdm(chosen, unit="image"):
        image, small = data.read(index)
        prepared = predictor.prepare(image)
        coarse = predictor.coarse([prepared])
        for scale in scales:
            truth = small.repeat(scale, 0).repeat(scale, 1)
            begun = predictor.begin(coarse, 0, prepared, LabelMapOptions(truth.shape[0]))
            dense = dense_labels(begun, head)
            tallies[scale, "dense"].add(dense, dense, truth, dense.size)
            for count in points:
                r = replace(begun, points=count, levels=[])
                render([r], head)
                evaluated = sum(len(level.cells) for level in r.levels)
                tallies[scale, count].add(r.labels(*truth.shape), dense, truth, evaluated)
    return {
        "images": len(chosen),
        "scales": {
            str(s): [asdict(tallies[s, w].result("auto" if w is None else w)) for w in ways] for s in scales
        },
    }


def agreement_table(found: dict[str, Any]) -> str:
    """A row for each scale and number of points; shares in percent."""
    header = ["height", "points a level", "share of points", "pixels as dense", "mIoU", "boundary mIoU"]
    return table(
        header,
        [
            [
                f"{scale}×",
                str(entry["points"]),
                f"{entry['share']:.1%}",
                f"{entry['equal']:.2%}",
                *(f"{100 * entry[name]:.2f}" for name in ("miou", "boundary_miou")),
            ]
            for scale, entries in found["scales"].items()
            for entry in entries
        ],
    )
