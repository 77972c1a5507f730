"""The cost of one 224×224 mask (paper Table 2), counted on full-size heads with random weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.markdown import table
from bench.paper.counter import Work, count
from bench.speed import reference_way
from model.config.instance import ConvHeadConfig, PointRendConfig
from model.networks.mask_heads import ConvMaskHead, PointRendMaskHead
from model.pointrend.features import FineMap
from model.pointrend.instance import InstanceRender
from model.pointrend.levels import START
from model.pointrend.regions import RegionMaps, Source
from model.pointrend.render import render

SIDE = 224
POINTS = 28**2  # per level


@dataclass(frozen=True)
class Costs:
    """The work of one mask each, except for the projection of P2, which all instances of an image share."""

    conv: Work  # 4×conv, 28×28
    fine_conv: Work  # 4×conv, SIDE×SIDE
    published: Work  # PointRend, SIDE×SIDE: coarse head and all levels
    coarse: Work  # of these, the coarse head
    level: Work  # of these, the coarse head and one level
    ours: Work  # the same mask from projected maps, own class only
    projection: Work  # of P2, once an image

    @property
    def share(self) -> float:
        """The multiply-accumulates of PointRend as published over those of 4×conv at the same side."""
        return self.published.multiplies / self.fine_conv.multiplies

    @property
    def pays_from(self) -> int:
        """The number of instances in an image from which on ours multiplies less than the published way."""
        saved = self.published.multiplies - self.ours.multiplies
        return self.projection.multiplies // saved + 1


def measure(
    channels: int = 256, classes: int = 80, fc_dim: int = 1024, height: int = 200, width: int = 304
) -> Costs:
    """Count the work of each head. Defaults: the published widths, and P2 [height, width] of an 800×1216 input."""
    conv = ConvHeadConfig(conv_dim=channels)
    fine_conv = ConvHeadConfig(conv_dim=channels, pool=SIDE // 2)
    config = PointRendConfig(conv_dim=channels, fc_dim=fc_dim, point_dim=channels)
    head = PointRendMaskHead(channels, classes, config).eval()
    pyramid = [torch.zeros(1, channels, height >> level, width >> level) for level in range(4)]
    region = torch.tensor([[0.0, 0.0, 4.0 * width, 4.0 * height]]), torch.tensor([0])
    own = torch.tensor([0])

    def baseline(config: ConvHeadConfig) -> Work:
        conv_head = ConvMaskHead(channels, classes, config).eval()
        return count(lambda: conv_head(pyramid, *region))

    with torch.no_grad():
        coarse = head(pyramid, *region)
        projected = head.point.project_fine(pyramid[0])[0].flatten(0, 1)

    def published(side: int) -> Work:
        arguments = (pyramid[0], coarse, region[0], own, head.point, side, POINTS)
        return count(lambda: reference_way.subdivide(*arguments))

    def ours() -> None:
        maps = RegionMaps(head.point.project_coarse(coarse, own), region[0], own)
        source = Source(maps, 0, FineMap(projected, height, width, 4))
        render([InstanceRender(source, 0, SIDE, POINTS)], head.point)

    start = count(lambda: head(pyramid, *region))
    return Costs(
        conv=baseline(conv),
        fine_conv=baseline(fine_conv),
        published=start + published(SIDE),
        coarse=start,
        level=start + published(START),
        ours=start + count(ours),
        projection=count(lambda: head.point.project_fine(pyramid[0])),
    )


def cost_table(costs: Costs) -> str:
    """Return the counts in millions, beside the published figures."""
    rows = (
        ("4×conv, 28×28", costs.conv, "0.5 B, 0.5 M"),
        (f"4×conv, {SIDE}×{SIDE}", costs.fine_conv, "34 B, 33 M"),
        (f"PointRend as published, {SIDE}×{SIDE}", costs.published, "0.9 B, 0.7 M"),
        ("– of this the coarse head", costs.coarse, "–"),
        (f"– of this the coarse head and one level of {POINTS} points", costs.level, "–"),
        (f"PointRend, ours, {SIDE}×{SIDE}", costs.ours, "–"),
        ("– beside it, once an image: the projection of P2", costs.projection, "–"),
    )
    counts = table(
        ["", "multiply-accumulates", "activations", "paper, Table 2"],
        [
            [what, f"{work.multiplies / 1e6:,.1f} M", f"{work.activations / 1e6:,.2f} M", published]
            for what, work, published in rows
        ],
    )
    return (
        f"{counts}\n\nAs published, PointRend's {SIDE}×{SIDE} mask takes {costs.share:.1%} of 4×conv's "
        f"multiply-accumulates. Ours has fewer than the published way from {costs.pays_from} instances an image on."
    )
