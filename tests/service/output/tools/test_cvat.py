"""Format `cvat`, read by cvat-sdk's decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.output.format import Found
from tests.service.output.tools.regions_of_noise import CASES, CATEGORIES, answer, bitmaps, classes, instances


def decoded(points: list[int], width: int, height: int) -> NDArray[np.bool_]:
    """Return the mask that the points say, by the description of the format."""
    *lengths, left, top, right, bottom = points
    box = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(bottom + 1 - top, right + 1 - left)
    whole = np.zeros((height, width), np.bool_)
    whole[top : bottom + 1, left : right + 1] = box
    return whole


def same(case: Found, decode: Any) -> None:
    expected = [(index, bitmap) for index, bitmap in bitmaps(case) if bitmap.any()]
    shapes = answer(case, "cvat")
    assert len(shapes) == len(expected)
    for shape, (index, bitmap) in zip(shapes, expected, strict=True):
        assert (shape["type"], shape["label"], shape["frame"]) == ("mask", CATEGORIES[index].name, 0)
        assert ("score" in shape) == (case.task == "instance")
        np.testing.assert_array_equal(decode(shape["points"], case.width, case.height), bitmap)
        rows, columns = np.flatnonzero(bitmap.any(1)), np.flatnonzero(bitmap.any(0))
        assert shape["points"][-4:] == [
            columns[0],
            rows[0],
            columns[-1],
            rows[-1],
        ]  # no larger than it must be


@settings(deadline=None, max_examples=60)
@given(*CASES)
def test_masks_are_their_pixels(drawn: Any, width: int, height: int) -> None:
    same(instances(drawn, width, height), decoded)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_classes_are_their_pixels(width: int, height: int, seed: int) -> None:
    same(classes(width, height, seed), decoded)


@pytest.mark.parametrize("seed", range(5))
def test_cvat_s_own_decoder_and_encoder_agree(seed: int) -> None:
    masks = pytest.importorskip("cvat_sdk.masks", reason="cvat-sdk is not installed")

    def decode(points: list[int], width: int, height: int) -> Any:
        return masks.decode_mask(points, image_width=width, image_height=height)

    drawn: Any = [(28, (3.0, 5.0, 40.0, 30.0), seed, -3.0), (7, (0.0, 0.0, 60.0, 50.0), seed + 1, -3.0)]
    case = instances(drawn, 60, 50)
    same(case, decode)
    same(classes(60, 50, seed), decode)
    for shape, (_, bitmap) in zip(answer(case, "cvat"), bitmaps(case), strict=True):
        assert shape["points"] == masks.encode_mask(bitmap)
