"""How far semantic results are from the recorded ones; the counterpart of tests/parity/measures.py."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from model.networks.semantic import SemanticNet, build_semantic
from model.pointrend.label_map import LabelMapRender, advance, render
from model.pointrend.render import FineMap
from model.predict.label_map import LabelMapOptions, LabelMapPredictor, label_map
from model.predict.preprocess import network_input, resize
from tests.parity.goldens import Golden, relative_difference
from tests.parity.measures import Figure

POINTS = 1024  # of the recorded run


def resized(golden: Golden) -> list[Figure]:
    own = resize(golden.image, golden.semantic.config.preprocessing)[:, :, ::-1]
    return [Figure("resized input: different bytes", float((own != golden.arrays["resized_bgr"]).sum()), 0)]


def coarse(golden: Golden) -> list[Figure]:
    """The base model from the recorded input."""
    found = _begun(golden, _network(golden), recorded=False).coarse
    return [Figure("coarse logits, relative", relative_difference(found, golden["coarse_logits"]), 1e-3)]


@torch.inference_mode()
def levels(golden: Golden) -> list[Figure]:
    """The renderer from the recorded coarse logits, level by level (no features are recorded: its own)."""
    net = _network(golden)
    assert net.point is not None
    running, figures = _begun(golden, net), []
    for step in range(2):
        while len(running.levels) == step:
            advance([running], net.point)
        (height, width), cells, logits = running.levels[-1]
        recorded = golden[f"step{step}_indices"].long().sort()
        values = golden[f"step{step}_point_logits"].T[recorded.indices]
        own = torch.searchsorted(cells, recorded.values).clamp(max=len(cells) - 1)
        chosen = cells[own] == recorded.values
        difference = (logits[own] - values).abs()[chosen].max() / values.abs().max()
        assert [height, width] == golden[f"step{step}_size"].tolist()
        name = f"{height}×{width}"
        figures += [
            Figure(f"{name}: same points", float(chosen.float().mean()), 0.999, at_least=True),
            Figure(f"{name}: logits at points, relative", float(difference), 1e-4),
        ]
    return figures


@torch.inference_mode()
def rendered(golden: Golden) -> list[Figure]:
    """The whole loop and the enlargement after it; the record is in half precision."""
    net = _network(golden)
    assert net.point is not None
    running = _begun(golden, net)
    render([running], net.point)
    expected = golden["sem_seg"].float()
    size = (expected.shape[1], expected.shape[2])
    logits = F.interpolate(running.rows(0, running.level)[None], size=size, mode="bilinear")[0]
    close = (logits.half().float() - expected).abs() <= 1e-3
    same = running.labels(*size) == golden.arrays["argmax"]
    return [
        Figure("logits at the image's size: within 1e-3", float(close.float().mean()), 0.999, at_least=True),
        Figure("labels: equal", float(same.mean()), 0.999, at_least=True),
    ]


def chain(golden: Golden, predictor: LabelMapPredictor) -> list[Figure]:
    """Picture in, label map out, at the recorded height and points, and at the image's own height."""
    expected = golden.arrays["argmax"]
    figures = []
    heights = {"as recorded": golden.arrays["resized_bgr"].shape[0], "rendered at the image's size": None}
    for name, height in heights.items():
        options = LabelMapOptions(height or "native", POINTS)
        found = label_map(predictor(golden.image, options), *expected.shape)
        figures.append(
            Figure(f"labels equal, {name}", float((found == expected).mean()), 0.995, at_least=True)
        )
    return figures


STAGES: tuple[Callable[[Golden], list[Figure]], ...] = (resized, coarse, levels, rendered)


def _network(golden: Golden) -> SemanticNet:
    return build_semantic(golden.semantic.config, golden.semantic.tensors)


@torch.inference_mode()
def _begun(golden: Golden, net: SemanticNet, recorded: bool = True) -> LabelMapRender:
    """At the recorded input, from the recorded coarse logits or its own."""
    assert net.point is not None
    rgb = torch.from_numpy(golden.arrays["resized_bgr"][:, :, ::-1].copy()).permute(2, 0, 1)
    maps = net(network_input([rgb], golden.semantic.config.preprocessing)[0])
    table = net.point.project_fine(maps.fine)[0]
    height, width, dim = table.shape
    fine = FineMap(table.reshape(-1, dim), height, width, 4)
    logits = golden["coarse_logits"] if recorded else maps.coarse[0]
    extent = (rgb.shape[1], rgb.shape[2])
    return LabelMapRender(logits, fine, net.config.base.stride, extent, extent, POINTS)
