"""On a real GPU: the same results as on the CPU. Skipped where there is none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from export.bundle import open_bundle
from export.execution import Execution, gpu_name
from export.trials import picture
from model.errors import UserError
from model.pointrend.instance import finest
from model.pointrend.render import render
from model.predict.instance import InstanceOptions
from model.predict.label_map import LabelMapOptions
from tests.model.pointrend.test_device import EVERYTHING, begun, head


def missing() -> str | None:
    """Why there is no GPU to test on."""
    try:
        gpu_name()
    except UserError as error:
        return str(error)
    return None


WHY = missing()
ON = {"cpu": Execution(), "cuda": Execution(device="cuda")}
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(WHY is not None, reason=f"no GPU: {WHY}")]


def test_masks_are_those_of_the_cpu(exported: Callable[[str], Path]) -> None:
    """To run lengths, through the whole bundle."""
    image, options = picture(240, 320, 3), InstanceOptions(score=0.05)
    found = {}
    for device in ON:
        bundle = open_bundle(exported("tiny_r50"), ON[device])
        found[device] = bundle.predictor(image, options).finish().parts
    assert len(found["cuda"]) == len(found["cpu"]) > 0
    for ours, theirs in zip(found["cuda"], found["cpu"], strict=True):
        assert ours.found_runs is not None and ours.logits.device.type == "cuda"
        one, other = (mask.crop(320, 240).bitmap for mask in (ours, theirs))
        assert (one == other).mean() > 0.99
        assert abs(ours.runs(320, 240).area - theirs.runs(320, 240).area) <= 0.02 * max(
            theirs.runs(320, 240).area, 50
        )


def test_label_maps_are_those_of_the_cpu(exported: Callable[[str], Path]) -> None:
    image, options = picture(96, 128, 3), LabelMapOptions(resolution=192)
    maps = [
        open_bundle(exported("tiny_semantic"), execution).predictor(image, options).finish()
        for execution in ON.values()
    ]
    labels = [found.labels(192, 256) for found in maps]
    assert (labels[0] == labels[1]).mean() > 0.99


def test_the_host_is_not_waited_for_within_the_levels() -> None:
    """CUDA itself says so."""
    renders, point = begun(2, 20), head()
    render(renders, point, EVERYTHING)  # warm-up: loading kernels waits
    renders = begun(2, 20)
    torch.cuda.set_sync_debug_mode("error")
    try:
        render(renders, point, EVERYTHING)
        masks = finest(renders)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert masks.isfinite().all()


def test_half_precision_gives_nearly_the_same_masks() -> None:
    torch.manual_seed(0)
    point, renders = head(), begun(1, 10)
    twins = [copy.copy(r) for r in renders]
    render(renders, point, EVERYTHING)
    point.precision = torch.bfloat16
    render(twins, point, EVERYTHING)
    same = (finest(renders) >= 0) == (finest(twins) >= 0)
    assert float(same.float().mean()) > 0.98
