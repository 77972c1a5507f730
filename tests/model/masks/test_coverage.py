"""Coverage follows shapes whose coverage is known, and is what sampling every pixel gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.masks.coverage import ALL, OFFSETS_X, OFFSETS_Y, SAMPLES, alpha_of, coverage
from model.masks.paste import paste

SIZE = 64
BOX = (2.3, 1.7, 61.6, 62.4)
FINE = 32  # places of a pixel along each axis, from which its true coverage is counted
Distance = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def disc(seed: int) -> Distance:
    rng = np.random.default_rng(seed)
    (x0, y0), radius = rng.uniform(30, 34, 2), rng.uniform(15, 24)
    return lambda x, y: radius - np.hypot(x - x0, y - y0)


def half_plane(seed: int) -> Distance:
    rng = np.random.default_rng(seed)
    turn, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-3, 3)
    return lambda x, y: (x - 32) * np.cos(turn) + (y - 32) * np.sin(turn) + offset


def bar(seed: int) -> Distance:
    """Return a bar of 2 to 5 pixels' width."""
    rng, line = np.random.default_rng(seed), half_plane(seed)
    half = rng.uniform(1, 2.5)
    return lambda x, y: half - np.abs(line(x, y))


def level(seed: int) -> Distance:
    """Return a half plane along the pixels, the worst case of samples that share rows."""
    offset = np.random.default_rng(seed).uniform(-3, 3)
    return lambda x, y: 0 * x + y - 32 + offset


def rendered(shape: Distance, side: int, steepness: float) -> NDArray[np.float32]:
    """Return the logits of a mask of BOX that is sure at some distance of its contour."""
    x0, y0, x1, y1 = BOX
    cells = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(x0 + cells * (x1 - x0), y0 + cells * (y1 - y0))
    return (steepness * shape(x, y)).clip(-15, 15).astype(np.float32)


def true_coverage(shape: Distance) -> NDArray[np.float64]:
    places = (np.arange(SIZE * FINE) + 0.5) / FINE
    inside = shape(*np.meshgrid(places, places)) >= 0
    return inside.reshape(SIZE, FINE, SIZE, FINE).mean((1, 3))


def alpha(logits: NDArray[np.float32], box: tuple[float, ...] = BOX) -> NDArray[np.float64]:
    bits = np.zeros((SIZE, SIZE), np.uint16)
    coverage(logits, box, SIZE, SIZE).add(bits, 0)
    return alpha_of(bits) / 255


def hard(logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    crop = paste(1 / (1 + np.exp(-logits)), BOX, SIZE, SIZE)
    mask = np.zeros((SIZE, SIZE), np.bool_)
    height, width = crop.bitmap.shape
    mask[crop.top : crop.top + height, crop.left : crop.left + width] = crop.bitmap
    return mask


@pytest.mark.parametrize("shape", [disc, half_plane, bar, level])
@pytest.mark.parametrize("side", [56, 112, 224])
@pytest.mark.parametrize("steepness", [1.0, 5.0])
def test_alpha_is_coverage(shape: Callable[[int], Distance], side: int, steepness: float) -> None:
    """The mean error at edges is at most a third of the hard mask's, and 0.03 of a pixel."""
    soft_errors, hard_errors = [], []
    for seed in range(10):
        true, logits = true_coverage(shape(seed)), rendered(shape(seed), side, steepness)
        edge = (true > 0) & (true < 1)
        edge[:4] = edge[-4:] = edge[:, :4] = edge[:, -4:] = False  # the box ends there
        soft_errors += list(np.abs(alpha(logits) - true)[edge])
        hard_errors += list(np.abs(hard(logits) - true)[edge])
    assert np.mean(soft_errors) <= min(np.mean(hard_errors) / 3, 0.03)


def test_a_mask_that_fills_its_box_covers_the_box() -> None:
    box = (10.25, 20.5, 50.75, 41)
    found = alpha(np.full((28, 28), 9, np.float32), box)
    x = np.clip(np.minimum(np.arange(SIZE) + 1, box[2]) - np.maximum(np.arange(SIZE), box[0]), 0, 1)
    y = np.clip(np.minimum(np.arange(SIZE) + 1, box[3]) - np.maximum(np.arange(SIZE), box[1]), 0, 1)
    true = np.outer(y, x)
    edge = (true > 0) & (true < 1)
    assert np.abs(found - true)[edge].mean() < 0.03
    assert np.abs(found - true).max() < 0.2  # a field that is interpolated cuts corners
    assert found[20:41, 10:51].min() > 0 and found.sum() == pytest.approx(true.sum(), rel=0.01)


def plain(logits: NDArray[np.float32], box: tuple[float, ...], width: int, height: int) -> NDArray[np.uint16]:
    """Sample every pixel, one sample after the other."""
    side = len(logits)
    field = np.pad(logits, 1, mode="edge").astype(np.float64)
    for rim in (np.s_[0, :], np.s_[-1, :], np.s_[:, 0], np.s_[:, -1]):
        field[rim] = -np.abs(field[rim])
    bits = np.zeros((height, width), np.uint16)
    for sample in range(SAMPLES):
        x = (np.arange(width) + OFFSETS_X[sample] - box[0]) / (box[2] - box[0]) * side + 0.5
        y = (np.arange(height) + OFFSETS_Y[sample] - box[1]) / (box[3] - box[1]) * side + 0.5
        inside = np.outer((y >= 0.5) & (y <= side + 0.5), (x >= 0.5) & (x <= side + 0.5))
        column, row = (np.floor(each).astype(int).clip(0, side) for each in (x, y))
        across, down = (x - column).clip(0, 1), (y - row).clip(0, 1)[:, None]
        rows = field[row] + down * (field[row + 1] - field[row])
        value = rows[:, column] + across * (rows[:, column + 1] - rows[:, column])
        bits |= ((value >= 0) & inside).astype(np.uint16) << np.uint16(sample)
    return bits


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40),
    st.tuples(*[st.floats(-60, 60, width=16)] * 2, *[st.floats(0.5, 300, width=16)] * 2),
    st.tuples(st.integers(1, 300), st.integers(1, 40)),
    st.integers(0, 1000),
    st.integers(1, 40),
)
def test_parts_are_those_of_sampling_every_pixel(
    side: int, corner: tuple[float, float, float, float], size: tuple[int, int], seed: int, step: int
) -> None:
    """Whatever is left out because it is known, and in whichever parts the image is asked for."""
    x0, y0, w, h = corner
    box, (width, height) = (x0, y0, x0 + w, y0 + h), size
    logits = np.random.default_rng(seed).normal(0.3, 1, (side, side)).astype(np.float32)
    expected = plain(logits, box, width, height)
    found = np.zeros((height, width), np.uint16)
    covered = coverage(logits, box, width, height)
    for top in range(0, height, step):
        covered.add(found[top : top + step, : width // 2], top)
        covered.add(found[top : top + step, width // 2 :], top, width // 2)
    differing = np.bitwise_count(found ^ expected)
    assert differing.sum() <= 0.001 * SAMPLES * found.size + 1  # samples at the contour, but for rounding


def test_the_union_is_that_of_samples() -> None:
    """Two halves of a pixel fill it, and the same half twice is a half."""
    left, right = half_plane(0), half_plane(0)
    one = rendered(left, 112, 5)
    bits = np.zeros((SIZE, SIZE), np.uint16)
    for logits in (one, -rendered(right, 112, 5)):
        coverage(logits, BOX, SIZE, SIZE).add(bits, 0)
    assert (bits[4:-4, 4:-4] == ALL).all()
    twice = np.zeros((SIZE, SIZE), np.uint16)
    for _ in range(2):
        coverage(one, BOX, SIZE, SIZE).add(twice, 0)
    np.testing.assert_array_equal(alpha_of(twice) / 255, alpha(one))


def test_only_pixels_at_the_contour_are_sampled() -> None:
    logits = rendered(disc(1), 224, 1)
    bits = np.zeros((SIZE, SIZE), np.uint16)
    sampled = coverage(logits, BOX, SIZE, SIZE).add(bits, 0)
    partly = np.count_nonzero((bits > 0) & (bits < ALL))
    assert partly <= sampled <= 3 * partly
