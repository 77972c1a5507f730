"""Pasting: equal to the reference's recorded masks, and to a plain full-image bilinear sample."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.masks.paste import Crop, SoftCrop, paste, paste_soft
from model.masks.rle import compress, encode
from tests.paths import GOLDEN


def on_image(crop: Crop | SoftCrop, width: int, height: int) -> NDArray[np.float32]:
    values = crop.bitmap if isinstance(crop, Crop) else crop.probability
    image = np.zeros((height, width), np.float32)
    h, w = values.shape
    image[crop.top : crop.top + h, crop.left : crop.left + w] = values
    return image


def sampled(prob: NDArray[np.float32], box: list[float], width: int, height: int) -> NDArray[np.float32]:
    """Every pixel of the image, by torch's grid_sample in double precision."""
    x0, y0, x1, y1 = box
    x = (torch.arange(width, dtype=torch.float64) + 0.5 - x0) / (x1 - x0) * 2 - 1
    y = (torch.arange(height, dtype=torch.float64) + 0.5 - y0) / (y1 - y0) * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    mask = torch.from_numpy(prob.astype(np.float64))
    values = torch.nn.functional.grid_sample(mask[None, None], grid[None], align_corners=False)
    return values[0, 0].numpy().astype(np.float32)


def test_masks_and_encodings_of_the_reference() -> None:
    arrays = np.load(GOLDEN / "units.npz")
    encodings = json.loads((GOLDEN / "units.json").read_text())["paste_rle"]
    height, width = arrays["paste_out"].shape[1:]
    for i, (prob, box) in enumerate(zip(arrays["paste_masks"], arrays["paste_boxes"], strict=True)):
        crop = paste(prob, box, width, height)
        np.testing.assert_array_equal(on_image(crop, width, height), arrays["paste_out"][i])
        assert encodings[i]["size"] == [height, width]
        assert compress(encode(crop, width, height)) == encodings[i]["counts"]
        soft = paste_soft(prob, box, width, height)
        h, w = soft.probability.shape
        recorded = arrays["paste_soft_u8"][i][soft.top : soft.top + h, soft.left : soft.left + w]
        assert (np.abs(soft.probability * 255 - recorded) <= 1).all()


@st.composite
def boxes(draw: st.DrawFn) -> tuple[list[float], int, int]:
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    corner = st.floats(-20, 80, width=32)
    low, size = [draw(corner), draw(corner)], st.floats(0.125, 90, width=32)
    return [*low, low[0] + draw(size), low[1] + draw(size)], width, height


@settings(deadline=None)
@given(boxes(), st.sampled_from([1, 2, 7, 28, 61]), st.integers(0, 2**32 - 1))
def test_the_crop_is_the_full_image_sample(box: tuple[list[float], int, int], side: int, seed: int) -> None:
    corners, width, height = box
    prob = np.random.default_rng(seed).random((side, side), np.float32)
    expected = sampled(prob, corners, width, height)
    soft = paste_soft(prob, corners, width, height)
    values = on_image(soft, width, height)
    h, w = soft.probability.shape
    inside = np.s_[soft.top : soft.top + h, soft.left : soft.left + w]
    np.testing.assert_allclose(values[inside], expected[inside], atol=2e-3)
    binary = on_image(paste(prob, corners, width, height), width, height) > 0
    np.testing.assert_array_equal(binary, values >= 0.5)
    clear = np.abs(expected - 0.5) > 2e-3
    np.testing.assert_array_equal(binary[clear], expected[clear] >= 0.5)


def test_a_large_crop_in_several_blocks_equals_the_sample() -> None:
    y, x = np.mgrid[:64, :64]
    prob = (1 / (1 + np.exp((np.hypot(y - 30, x - 33) - 20) / 2))).astype(np.float32)
    box, width, height = [10.25, -31.5, 700.75, 655.0], 720, 640
    soft = paste_soft(prob, box, width, height)
    np.testing.assert_allclose(
        soft.probability, sampled(prob, box, width, height)[:, soft.left : 701], atol=1e-4
    )
    np.testing.assert_array_equal(paste(prob, box, width, height).bitmap, soft.probability >= 0.5)


@pytest.mark.parametrize(
    "box",
    [
        [5, 5, 5, 9],
        [5, 5, 9, 5],
        [5.6, 5, 6.4, 9],
        [30, 5, 40, 9],
        [-9, 5, -1, 9],
        [0, 20, 9, 30],
        [9, 9, 3, 3],
    ],
)
def test_a_box_without_pixel_centres_gives_an_empty_crop(box: list[float]) -> None:
    ones = np.ones((28, 28), np.float32)
    crop, soft = paste(ones, box, 20, 10), paste_soft(ones, box, 20, 10)
    assert crop.bitmap.size == soft.probability.size == 0
    assert encode(crop, 20, 10).tolist() == [200]


def test_centres_on_the_edge_of_the_box_belong_to_it() -> None:
    crop = paste(np.ones((4, 4), np.float32), (1.5, 0, 3.5, 4), 10, 4)
    np.testing.assert_array_equal(on_image(crop, 10, 4)[1], [0, 1, 1, 1, 0, 0, 0, 0, 0, 0])


def test_columns_are_contiguous() -> None:
    ones = np.ones((28, 28), np.float32)
    assert paste(ones, (0, 0, 9, 7), 20, 10).bitmap.flags.f_contiguous
    assert paste_soft(ones, (0, 0, 9, 7), 20, 10).probability.flags.f_contiguous
