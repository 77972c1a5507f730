"""How far our label maps are from the recorded ones, stage by stage and over the whole chain; see instance.py."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from model.checkpoints.checkpoint import of_task
from model.networks.build import build_network, coarse_pass
from model.networks.semantic import SemanticNet
from model.pointrend.label_map import LabelMapRender
from model.pointrend.render import advance, render
from model.predict.label_map import LabelMapOptions, LabelMapPredictor
from model.predict.predictor import fine_map
from model.predict.preprocess import network_input
from tests.parity.figures import Figure, Stage, points_figures, resized
from tests.parity.goldens import Golden, load_any, relative_difference

POINTS = 1024  # of the recorded run


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
        while len(running.pyramid.levels) == step:
            advance([running], net.point)
        (height, width), cells, logits = running.pyramid.levels[-1]
        recorded = golden[f"step{step}_indices"].long().sort()
        values = golden[f"step{step}_point_logits"].T[recorded.indices]
        own = torch.searchsorted(cells, recorded.values).clamp(max=len(cells) - 1)
        chosen = cells[own] == recorded.values
        difference = (logits[own] - values).abs()[chosen].max() / values.abs().max()
        assert [height, width] == golden[f"step{step}_size"].tolist()
        figures += points_figures(f"{height}×{width}", float(chosen.float().mean()), float(difference))
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
    logits = F.interpolate(running.pyramid.rows(0, running.level)[None], size=size, mode="bilinear")[0]
    close = (logits.half().float() - expected).abs() <= 1e-3
    same = running.pyramid.labels(*size) == golden.arrays["argmax"]
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
        found = predictor(golden.image, options).finish().labels(*expected.shape)
        figures.append(
            Figure(f"labels equal, {name}", float((found == expected).mean()), 0.995, at_least=True)
        )
    return figures


STAGES: tuple[Stage, ...] = (resized, coarse, levels, rendered)


def _network(golden: Golden) -> SemanticNet:
    checkpoint = of_task(load_any(golden.model), "semantic")
    return build_network(checkpoint.config, checkpoint.tensors)


@torch.inference_mode()
def _begun(golden: Golden, net: SemanticNet, recorded: bool = True) -> LabelMapRender:
    """Return a render of the recorded input, from the recorded coarse logits or the network's own."""
    rgb, config = golden.network_input, net.config
    found = coarse_pass(net)(network_input([rgb], config.preprocessing)[0])
    logits = golden["coarse_logits"] if recorded else found.coarse[0]
    extent = (rgb.shape[1], rgb.shape[2])
    return LabelMapRender(logits, fine_map(found.fine, 0, 4), config.base.stride, extent, extent, POINTS)
