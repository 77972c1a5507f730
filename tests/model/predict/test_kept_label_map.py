"""Windows of the label map of a kept picture."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from model.pointrend.label_map import dense_labels
from model.pointrend.label_map_levels import size_after, window_start
from model.pointrend.render import render
from model.predict.kept.label_map import KeptLabelMap, keep_label_map, label_map_bytes
from model.predict.kept.window import WindowOptions
from model.predict.label_map import LabelMapOptions, LabelMapPredictor
from tests.service.label_maps import PICTURE, street

WIDTH, HEIGHT = 100, 70  # of PICTURE
MOST = 2048**2  # points: every cell of a level is evaluated


@cache
def predictor() -> LabelMapPredictor:
    found = street().predictor
    assert isinstance(found, LabelMapPredictor)
    return found


@cache
def kept(index: int = 0, count: int = 1) -> KeptLabelMap:
    options = LabelMapOptions()
    batch = [predictor().prepare(PICTURE if i == index else PICTURE[::-1], options) for i in range(count)]
    found = predictor().begin(predictor().coarse(batch), index, batch[index], options)
    own = keep_label_map(found)
    assert label_map_bytes(found) == own.coarse.nbytes + own.fine.table.nbytes
    assert own.coarse.untyped_storage().nbytes() == own.coarse.nbytes
    assert own.fine.table.untyped_storage().nbytes() == own.fine.table.nbytes
    return own


def shown(
    picture: KeptLabelMap,
    window: tuple[float, float, float, float],
    width: int,
    height: int,
    points: int | None = None,
) -> NDArray[np.uint8]:
    prediction = picture.window(WindowOptions(None, window, width, height, points))
    assert predictor().head is not None
    predictor().render([prediction])
    found = prediction.finish()
    assert found.side == max(height, prediction.render.level) and not found.truncated
    return found.labels(height, width)


@pytest.mark.parametrize("height", [70, 140, 280])
def test_the_whole_picture_is_its_label_map(height: int) -> None:
    expected = predictor()(PICTURE, LabelMapOptions(resolution=height)).finish()
    found = shown(kept(), (0, 0, WIDTH, HEIGHT), *reversed(expected.asked))
    assert (found == expected.labels(*expected.asked)).mean() > 0.995


def test_a_picture_of_a_batch_is_kept_as_if_it_were_alone() -> None:
    window = (20.5, 10.0, 60.5, 40.0)
    np.testing.assert_array_equal(shown(kept(1, 3), window, 80, 60), shown(kept(), window, 80, 60))


def test_a_window_is_that_part_of_the_whole() -> None:
    """Every cell is evaluated, and the same points whatever the window: there is no seam."""
    whole = shown(kept(), (0, 0, WIDTH, HEIGHT), 400, 280, MOST)
    part = shown(kept(), (25, 14, 75, 49), 200, 140, MOST)
    assert (part == whole[56:196, 100:300]).mean() > 0.999


@pytest.mark.parametrize("size", [(120, 90), (131, 57), (2, 300), (300, 2), (10, 7)])
def test_a_window_of_any_shape_is_close_to_all_of_its_points(size: tuple[int, int]) -> None:
    width, height = size
    options = WindowOptions(None, (31.25, 20.5, 51.0, 33.75), width, height)
    prediction, head = kept().window(options), predictor().head
    assert head is not None
    render(prediction.renders, head)
    dense = dense_labels(kept().window(options).render, head)
    assert dense.shape == (height, width)
    assert (prediction.finish().labels(height, width) == dense).mean() > 0.98


def test_a_window_of_pixels_larger_than_coarse_cells_is_coarse() -> None:
    options = WindowOptions(None, (0, 0, WIDTH, HEIGHT), 20, 14)
    render = kept().window(options).render
    assert render.done and render.size == (14, 20)


def test_levels_are_bounded_whatever_the_shape_of_a_window() -> None:
    for span, target in (((1.0, 600.0), (2048, 2)), ((600.0, 1.0), (2, 2048)), ((3.0, 3.0), (2048, 2048))):
        size = window_start(span, 4, target)
        assert all(1 <= side <= most for side, most in zip(size, target, strict=True))
        while size != target:
            size = size_after(size, target)
            assert size[0] * size[1] <= max(target) ** 2
    assert window_start((480, 640), 4, (960, 1280)) == (120, 160)
    assert window_start((480, 640), 4, (60, 80)) == (60, 80)


def test_a_lower_target_is_marked() -> None:
    prediction = kept().window(WindowOptions(None, (10, 10, 20, 20), 200, 200))
    prediction.renders[0].limit(50)
    assert predictor().head is not None
    predictor().render([prediction])
    found = prediction.finish()
    assert found.truncated and found.labels(200, 200).shape == (200, 200)
