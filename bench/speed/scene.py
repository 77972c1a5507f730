"""A full-size scene for the renderer: the published point head on P2 of an 800×1216 input, with random weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.speed import reference_way
from model.config.instance import PointRendConfig
from model.pointrend.features import FineMap
from model.pointrend.instance import InstanceRender
from model.pointrend.point_head import PointHead
from model.pointrend.regions import RegionMaps, Source
from model.pointrend.render import points_that_fit, render

SIDE, POINTS, DIM = 224, 784, 256
HEIGHT, WIDTH = 200, 304  # of P2


@dataclass(frozen=True)
class Scene:
    """Regions of one image, and the head that renders them."""

    head: PointHead
    features: Tensor  # [1, 256, HEIGHT, WIDTH]
    coarse: Tensor  # [R, K, 7, 7]
    boxes: Tensor  # [R, 4]
    classes: Tensor  # [R]

    def begun(self, side: int = SIDE, points: int | None = POINTS) -> list[InstanceRender]:
        """Return fresh renders. This includes the projections, which are part of a bundle's graph."""
        fine = FineMap(self.head.project_fine(self.features), HEIGHT, WIDTH, 4)
        maps = RegionMaps(self.head.project_coarse(self.coarse, self.classes), self.boxes, self.classes)
        categories = self.classes.tolist()
        return [InstanceRender(Source(maps, i, fine), k, side, points) for i, k in enumerate(categories)]

    def render(
        self, precision: torch.dtype = torch.float32, side: int = SIDE, points: int | None = POINTS
    ) -> None:
        """Project the maps and render all masks."""
        self.refine(self.begun(side, points), precision)

    def refine(self, renders: Sequence[InstanceRender], precision: torch.dtype) -> None:
        """Render masks whose maps are projected."""
        self.head.precision = precision
        render(renders, self.head, points_that_fit(self.boxes.device, DIM))

    def plain(self) -> Tensor:
        """Render all masks as published."""
        return reference_way.subdivide(
            self.features, self.coarse, self.boxes, self.classes, self.head, SIDE, POINTS
        )

    def copied(self, device: str, head: PointHead | None = None) -> Scene:
        """Return a copy on a device, with the given head, which is there, or else a copy of its own."""
        tensors = (self.features, self.coarse, self.boxes, self.classes)
        own = copy.deepcopy(self.head).to(device) if head is None else head
        return Scene(own, *(tensor.to(device, copy=True) for tensor in tensors))

    def first(self, count: int) -> Scene:
        """Return a scene of the first regions alone."""
        return Scene(self.head, self.features, self.coarse[:count], self.boxes[:count], self.classes[:count])


def scene(regions: int, classes: int = 80, device: str = "cpu") -> Scene:
    """Return a scene with so many regions."""
    torch.manual_seed(0)
    head = PointHead(DIM, classes, PointRendConfig()).eval().requires_grad_(False)
    torch.nn.init.normal_(head.predictor.weight, std=0.1)
    corner = torch.rand(regions, 2) * torch.tensor([900.0, 500.0])
    boxes = torch.cat([corner, corner + 40 + 260 * torch.rand(regions, 2)], 1)
    tensors = (
        torch.randn(1, DIM, HEIGHT, WIDTH),
        torch.randn(regions, classes, 7, 7) * 3,
        boxes,
        torch.randint(classes, (regions,)),
    )
    return Scene(head.to(device), *(tensor.to(device) for tensor in tensors))
