"""From images to label maps, and to one mask a class."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from export.trials import picture
from model.config.categories import numbered
from model.config.semantic import SemanticConfig
from model.masks.palette import VOID, default_palette
from model.networks.eager import predictor_of
from model.predict.label_map import (
    LabelMapOptions,
    LabelMapPredictor,
    parse_height,
    target_size,
)
from tests.model import tiny_semantic


def predictor(config: SemanticConfig = tiny_semantic.CONFIG) -> LabelMapPredictor:
    return predictor_of(tiny_semantic.network(config), numbered(3), default_palette(3))


@pytest.mark.parametrize("config", [tiny_semantic.CONFIG, tiny_semantic.DEEPLAB])
def test_native_is_the_image_itself(config: SemanticConfig) -> None:
    found = predictor(config)(picture(90, 133, 0), LabelMapOptions())
    assert found.render.size == found.render.target_size == found.asked == (90, 133)
    labels = found.finish().labels(90, 133)
    assert labels.shape == (90, 133) and labels.dtype == np.uint8 and labels.max() < 3


def test_resolution_is_a_height_above_or_below_the_image() -> None:
    predict = predictor()
    for rows, columns in ((45, 67), (360, 532)):
        found = predict(picture(90, 133, 0), LabelMapOptions(resolution=rows))
        render = found.render
        assert render.size == (rows, columns) if rows > render.pyramid.base.shape[1] else render.done
        assert found.finish().labels(90, 133).shape == (90, 133)


def test_a_batch_is_its_images_alone() -> None:
    predict = predictor()
    images = [predict.prepare(picture(64, 96, seed), LabelMapOptions()) for seed in range(3)]
    together = predict.coarse(images)
    for i, image in enumerate(images):
        alone = predict.coarse([image])
        assert torch.allclose(together.coarse[i], alone.coarse[0], atol=1e-5)
        a, b = (predict.begin(c, j, image, LabelMapOptions()) for c, j in ((together, i), (alone, 0)))
        predict.render([a, b])
        assert (a.finish().labels(64, 96) == b.finish().labels(64, 96)).mean() > 0.998


def test_a_base_alone_predicts() -> None:
    predict = predictor(dataclasses.replace(tiny_semantic.CONFIG, point=None))
    assert predict.head is None
    found = predict(picture(64, 96, 0), LabelMapOptions(resolution=512))
    assert found.render.done and found.finish().labels(512, 768).shape == (512, 768)


def test_classes_that_were_not_asked_for_are_void() -> None:
    found = predictor()(picture(64, 96, 0), LabelMapOptions())
    everything = found.finish().labels(64, 96)
    some = dataclasses.replace(found, classes=frozenset({0, 2})).finish().labels(64, 96)
    assert np.array_equal(some, np.where(everything == 1, VOID, everything))


def test_sizes_are_bounded() -> None:
    assert target_size(1024, 2048, 4096) == (4096, 8192)
    assert target_size(300, 400, "native") == (300, 400)
    assert target_size(5000, 1, 10) == (10, 1)
    with pytest.raises(ValueError, match="a label map of 81920×4096 is too large: at most 33554432 cells"):
        target_size(100, 2000, 4096)


def test_requests_are_parsed() -> None:
    assert (parse_height("native"), parse_height("4096")) == ("native", 4096)
    for text in ("0", "8193", "-3", "1.5", "x" * 90, ""):
        with pytest.raises(ValueError, match="resolution must be native or a height from 1 to 8192, got"):
            parse_height(text)


def test_a_result_owns_its_memory() -> None:
    """A label map that waits for its answer must not keep the coarse logits of its whole batch."""
    predict = predictor()
    images = [predict.prepare(picture(64, 96, seed), LabelMapOptions()) for seed in range(3)]
    coarse = predict.coarse(images)
    result = predict.begin(coarse, 1, images[1], LabelMapOptions(resolution=16)).finish()
    base = result.pyramid.base
    assert base.untyped_storage().nbytes() == 4 * base.numel() < coarse.coarse.untyped_storage().nbytes()
    assert result.parts == (result,) and result.side == 16
