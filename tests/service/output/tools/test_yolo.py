"""Format `yolo`, by geometry and by supervision's reader."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray

from model.predict.instance import Instances, Mask
from service.output.format import Found
from tests.service.output.test_encode import found
from tests.service.output.tools.regions_of_noise import CASES, answer, bitmaps, instances


def lines(case: Found) -> list[list[str]]:
    text = answer(case, "yolo").decode("ascii")
    assert text == "" or text.endswith("\n")
    return [line.split(" ") for line in text.splitlines()]


def inside(points: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """Return the pixels from whose centres a line to the left crosses the polygon an odd number of times."""
    y, x = np.mgrid[0.5:height, 0.5:width]
    crossed = np.zeros((height, width), np.bool_)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        between = (np.minimum(y0, y1) <= y) & (y < np.maximum(y0, y1))
        crossed ^= between & (x0 + (y - y0) * (x1 - x0) / (y1 - y0) < x)
    return crossed


def expected(case: Found) -> list[tuple[int, NDArray[np.bool_]]]:
    return [(index, bitmap) for index, bitmap in bitmaps(case) if bitmap.any()]


@settings(deadline=None, max_examples=40)
@given(*CASES)
def test_a_line_is_the_pixels_of_an_instance(drawn: Any, width: int, height: int) -> None:
    case = instances(drawn, width, height)
    for line, (index, bitmap) in zip(lines(case), expected(case), strict=True):
        numbers = np.array(line[1:], np.float64)
        assert int(line[0]) == index and numbers.min() >= 0 and numbers.max() <= 1
        points = numbers.reshape(-1, 2) * (width, height)
        assert np.abs(points - np.rint(points)).max() < 0.01
        np.testing.assert_array_equal(inside(np.rint(points), width, height), bitmap)


def test_parts_are_joined_from_the_nearest_corner_and_back() -> None:
    logits = torch.full((28, 28), -9.0)
    logits[2:10, 2:10] = 9.0
    logits[14:20, 16:26] = 9.0
    case = found(
        Instances((Mask(0, 0.5, np.array([0, 0, 28, 28], np.float32), logits, None, False),)), 28, 28
    )
    (line,) = lines(case)
    points = np.rint(np.array(line[1:], np.float64).reshape(-1, 2) * 28).astype(int).tolist()
    assert points == [
        [2, 2], [10, 2], [10, 10],  # on from the corner nearest to (16, 14)
        [16, 14], [26, 14], [26, 20], [16, 20], [16, 14],
        [10, 10], [2, 10],
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_supervision_s_reader_sees_the_same_objects(seed: int) -> None:
    """OpenCV fills polygons with their edges: a pixel more to the right and below, and along the cuts into holes."""
    yolo = pytest.importorskip("supervision.dataset.formats.yolo")
    drawn: Any = [(28, (3.0, 5.0, 90.0, 80.0), seed, -2.0), (7, (0.0, 0.0, 120.0, 90.0), seed + 1, -1.0)]
    case = instances(drawn, 120, 100)
    read = yolo.yolo_annotations_to_detections(
        answer(case, "yolo").decode().splitlines(), resolution_wh=(120, 100), with_masks=True
    )
    for index, mask, (category, bitmap) in zip(read.class_id, read.mask, expected(case), strict=True):
        assert index == category
        assert mask[bitmap].all()
        wider = bitmap.copy()
        wider[:, 1:] |= bitmap[:, :-1]
        wider[1:] |= wider[:-1].copy()
        assert (mask & ~wider).sum() < 0.1 * bitmap.sum()  # what lies on the cuts and ways
