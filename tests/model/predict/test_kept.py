"""Windows of kept pictures: the mask as a function of real points, rendered at any resolution."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from model.pointrend.instance import render_dense
from model.pointrend.point_head import PointHead
from model.pointrend.render import render
from model.predict.kept.instance import (
    FOREGROUND,
    KeptInstance,
    KeptInstances,
    WindowMask,
    bytes_of,
    keep,
)
from model.predict.kept.window import WindowOptions
from tests.model.predict.test_instance import ALL, image, predictor

MOST = 896**2  # points: every cell of a window is evaluated


def head() -> PointHead:
    found = predictor().head
    assert found is not None
    return found


@cache
def begun() -> Any:
    one = predictor().prepare(image(), ALL)
    return predictor().begin(predictor().coarse([one]), 0, one, ALL)


def instances() -> list[KeptInstance]:
    return [
        KeptInstance(r.category, r.score, tuple(r.box.tolist()), r.render.source) for r in begun().regions
    ]


@cache
def kept() -> KeptInstances:
    return keep(instances(), begun().width, begun().height)


def largest() -> int:
    """The instance with the largest box."""
    sizes = [(box[2] - box[0]) * (box[3] - box[1]) for box in (each.box for each in kept().instances)]
    return int(np.argmax(sizes))


def shown(window: tuple[float, ...], width: int, height: int, points: int | None = None) -> WindowMask:
    options = WindowOptions(largest(), window, width, height, points)  # type: ignore[arg-type]
    prediction = kept().window(options)
    render(prediction.renders, head())
    return prediction.finish()


@pytest.mark.parametrize("side", [28, 56, 112, 224])
def test_the_whole_box_is_rendered_as_the_mask_of_this_side(side: int) -> None:
    region = begun().regions[largest()]
    own = dataclasses.replace(region.render, target=side)
    render([own], head())
    found = shown(kept().instances[largest()].box, side, side)
    expected = (255 * own.probability()).round().to(torch.uint8).numpy()
    np.testing.assert_array_equal(found.grey, expected)
    assert found.side == side and not found.truncated


def test_adjoining_windows_are_one_picture() -> None:
    """The same points are evaluated, whichever window they lie in: there is no seam."""
    x0, y0, x1, y1 = kept().instances[largest()].box
    middle = (x0 + x1) / 2
    whole = shown((x0, y0, x1, y1), 120, 80, MOST).grey
    left, right = (
        shown((x0, y0, middle, y1), 60, 80, MOST).grey,
        shown((middle, y0, x1, y1), 60, 80, MOST).grey,
    )
    assert np.abs(np.hstack([left, right]).astype(int) - whole).max() <= 1


def test_points_are_the_same_at_any_zoom() -> None:
    """Three by three pixels have their middle one's centre in common with the pixel that they divide."""
    x0, y0, x1, y1 = kept().instances[largest()].box
    coarse, fine = shown((x0, y0, x1, y1), 40, 30, MOST).grey, shown((x0, y0, x1, y1), 120, 90, MOST).grey
    assert np.abs(fine[1::3, 1::3].astype(int) - coarse).max() <= 1


@pytest.mark.parametrize("size", [(100, 100), (131, 57), (1, 300), (300, 2), (10, 7)])
def test_a_window_of_any_shape_is_close_to_all_of_its_points(size: tuple[int, int]) -> None:
    x0, y0, x1, y1 = kept().instances[largest()].box
    window = (x0 + (x1 - x0) / 7, y0 + (y1 - y0) / 5, x1 - (x1 - x0) / 3, y1 - (y1 - y0) / 9)
    found = shown(window, *size)
    prediction = kept().window(found.options)
    render_dense(prediction.renders, head())
    dense = prediction.finish()
    assert found.grey.shape == dense.grey.shape == (size[1], size[0])
    assert ((found.grey >= FOREGROUND) != (dense.grey >= FOREGROUND)).mean() < 0.01


def test_there_is_no_mask_beyond_the_box() -> None:
    x0, y0, x1, y1 = kept().instances[largest()].box
    width, height = x1 - x0, y1 - y0
    around = shown((x0 - width, y0 - height / 2, x1 + width, y1 + height / 2), 90, 60, MOST)
    assert (around.part.left, around.part.top) == (30, 15)
    np.testing.assert_array_equal(around.grey[15:45, 30:60], shown((x0, y0, x1, y1), 30, 30, MOST).grey)
    assert around.grey.sum() == around.grey[15:45, 30:60].astype(int).sum()
    outside = kept().window(WindowOptions(largest(), (x1 + 1, y0, x1 + 9, y1), 8, 8))
    assert outside.renders == ()
    assert not outside.finish().grey.any()


def test_a_part_is_the_windows_pixels_whose_centres_are_in_the_box() -> None:
    x0, y0 = kept().instances[largest()].box[:2]
    beside = kept().window(WindowOptions(largest(), (x0 - 5, y0 - 5, x0 + 5, y0 + 5), 5, 10))
    assert dataclasses.astuple(beside.part) == (2, 5, 3, 5)


def test_the_crop_is_the_foreground() -> None:
    x0, y0, x1, y1 = kept().instances[largest()].box
    found = shown((x0 - 3, y0 - 3, x1, y1), 70, 50)
    crop = found.crop
    placed = np.zeros((50, 70), bool)
    placed[crop.top :, crop.left :][: crop.bitmap.shape[0], : crop.bitmap.shape[1]] = crop.bitmap
    np.testing.assert_array_equal(placed, found.grey >= FOREGROUND)


def test_a_lower_target_is_enlarged_and_marked() -> None:
    x0, y0, x1, y1 = kept().instances[largest()].box
    prediction = kept().window(WindowOptions(largest(), (x0, y0, x1, y1), 200, 150))
    with pytest.raises(ValueError, match="nothing is rendered"):
        prediction.finish()
    prediction.renders[0].limit(56)
    early = prediction.snapshot()
    render(prediction.renders, head())
    found = prediction.finish()
    assert found.grey.shape == (150, 200) and (found.side, found.truncated) == (56, True)
    assert prediction.renders[0].size(56) == (42, 56)
    assert early.renders[0].level == 0


def test_what_is_kept_owns_its_memory_and_is_counted() -> None:
    sources = [each.source for each in kept().instances]
    tensors = {id(t): t for source in sources for t in (*source.maps, source.fine.table)}
    assert sum(t.untyped_storage().nbytes() for t in tensors.values()) == bytes_of(
        [each.source for each in instances()]
    )
    assert begun().regions[0].render.source.fine.table.data_ptr() not in {
        t.data_ptr() for t in tensors.values()
    }


def test_a_picture_of_a_batch_is_kept_as_if_it_were_alone() -> None:
    one = predictor().prepare(image(), ALL)
    other = predictor().prepare(image()[::-1].copy(), ALL)
    coarse = predictor().coarse([other, one])
    found = predictor().begin(coarse, 1, one, ALL)
    own = keep(
        [KeptInstance(r.category, r.score, tuple(r.box.tolist()), r.render.source) for r in found.regions],
        160,
        120,
    )
    options = WindowOptions(largest(), kept().instances[largest()].box, 60, 60)
    prediction = own.window(options)
    render(prediction.renders, head())
    assert np.abs(prediction.finish().grey.astype(int) - shown(options.window, 60, 60).grey).max() <= 1
    assert bytes_of([each.source for each in own.instances]) == bytes_of(
        [each.source for each in kept().instances]
    )


def test_a_picture_without_instances_is_kept_as_well() -> None:
    nothing = keep([], 160, 120)
    assert nothing.instances == () and bytes_of([]) == 0


def test_windows_of_several_pictures_share_their_steps() -> None:
    x0, y0, x1, y1 = kept().instances[largest()].box
    again = keep(instances(), 160, 120)
    options = [
        WindowOptions(largest(), (x0, y0, x1, y1), 50, 40),
        WindowOptions(largest(), (x0, y0, (x0 + x1) / 2, y1), 50, 40),
        WindowOptions(0, kept().instances[0].box, 64, 64),
    ]
    together = [(again if i % 2 else kept()).window(each) for i, each in enumerate(options)]
    render([r for each in together for r in each.renders], head())
    for each, found in zip(options, together, strict=True):
        alone = kept().window(each)
        render(alone.renders, head())
        assert np.abs(alone.finish().grey.astype(int) - found.finish().grey).max() <= 1
