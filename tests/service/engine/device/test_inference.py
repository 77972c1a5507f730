"""What is computed on the device's thread, for models of both tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import Tensor

from export.bundle import Bundle
from model.predict.instance import InstanceOptions
from model.predict.label_map import LabelMapOptions
from service.engine.device.inference import Inference
from service.engine.request import Request
from tests.model.pointrend.test_label_map import evaluations
from tests.parity.goldens import load
from tests.service.label_maps import PICTURE


def results_of(bundle: Bundle, image: np.ndarray, *options: Any) -> list[Any]:
    """The results of requests for one image that share a coarse pass and all steps."""
    model = Inference(bundle)
    requests = [Request(str(i), b"", each) for i, each in enumerate(options)]
    for request in requests:
        request.prepared = bundle.predictor.prepare(image, request.options)
    for request, prediction in zip(requests, model.begin(requests), strict=True):
        request.prediction = prediction
    while pending := [each for one in requests for each in one.prediction.renders if not each.done]:
        model.advance(pending)
    for request in requests:
        request.finish()
        assert not hasattr(request, "prediction") and not hasattr(request, "prepared")
    return [request.result for request in requests]


def test_requests_share_calls_of_the_point_head(label_maps: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    options = (LabelMapOptions(points=20), LabelMapOptions(140, points=30), LabelMapOptions(35, points=40))
    calls = evaluations(monkeypatch)
    results = results_of(label_maps, PICTURE, *options)
    assert calls == [90, 90, 50, 30]
    for result, asked in zip(results, options, strict=True):
        alone: Any = label_maps.predictor(PICTURE, asked).finish()
        assert (result.labels(70, 100) == alone.labels(70, 100)).mean() > 0.999


def owns_its_memory(tensor: Tensor) -> bool:
    return tensor.untyped_storage().nbytes() == tensor.nbytes


def test_finished_label_maps_keep_nothing_of_their_batch(label_maps: Bundle) -> None:
    for result in results_of(label_maps, PICTURE, *[LabelMapOptions(140, points=30)] * 3):
        assert owns_its_memory(result.pyramid.base)
        for level in result.pyramid.levels:
            assert owns_its_memory(level.cells) and owns_its_memory(level.logits)


def test_finished_masks_keep_nothing_of_their_batch(tiny: Bundle) -> None:
    image = load("tiny_r50_coffee").image
    results = results_of(tiny, image, *[InstanceOptions(56, score=0.05)] * 2)
    masks = [mask for result in results for mask in result.masks]
    assert len(masks) > 2
    assert all(owns_its_memory(mask.logits) for mask in masks)
    assert all(mask.box.base is None or mask.box.base.nbytes == mask.box.nbytes for mask in masks)
