"""The colours at an edge are the foreground's, in pictures that were mixed of two."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.masks.decontaminate import RADIUS, decontaminate

SIZE = 160
Y, X = np.mgrid[:SIZE, :SIZE] + 0.5
SHAPES = {
    "disc": (60 - np.hypot(X - 80, Y - 80) + 0.5).clip(0, 1),
    "slanted": (0.8 * X + 0.6 * Y - 110 + 0.5).clip(0, 1),
    "bar": (1.2 - np.abs(0.6 * X - 0.8 * Y + 20) + 0.5).clip(0, 1),
}


def colours(kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a foreground and a background."""
    if kind == "flat":
        one, other = np.array([200.0, 40, 30]), np.array([20.0, 200, 60])
        return np.broadcast_to(one, (SIZE, SIZE, 3)), np.broadcast_to(other, (SIZE, SIZE, 3))
    noise = np.random.default_rng(0).normal(0, 6, (2, SIZE, SIZE, 3))
    one = np.stack([120 + 60 * np.sin(X / 9), 80 + 50 * np.cos(Y / 7), 60 + 20 * np.sin(X / 5)], -1)
    other = np.stack([60 + 40 * np.sin(Y / 11), 150 + 50 * np.cos(X / 9), 200 + 20 * np.cos(X / 4)], -1)
    return (one + noise[0]).clip(0, 255), (other + noise[1]).clip(0, 255)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "share"), [("flat", 0.1), ("textured", 0.25)])
def test_the_background_s_colour_is_removed(shape: str, kind: str, share: float) -> None:
    """What is left of the error is a tenth where colours are flat, and a quarter where they vary."""
    (fore, back), cover = colours(kind), SHAPES[shape]
    pixels = (cover[..., None] * fore + (1 - cover[..., None]) * back).round().astype(np.uint8)
    alpha = (255 * cover).round().astype(np.uint8)
    found = decontaminate(pixels, alpha, np.s_[0:SIZE, 0:SIZE])
    edge = (alpha > 0) & (alpha < 255)
    assert np.count_nonzero(edge) > 100
    before, after = (np.abs(each - fore)[edge].mean() for each in (pixels, found))
    assert after < share * before
    np.testing.assert_array_equal(found[alpha == 255], pixels[alpha == 255])
    assert not found[alpha == 0].any()


def test_a_part_is_that_of_the_whole() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (60, 50, 3), np.uint8)
    alpha = rng.choice(np.array([0, 0, 100, 200, 255], np.uint8), (60, 50))
    whole = decontaminate(pixels, alpha, np.s_[0:60, 0:50])
    rows, columns = slice(20, 31), slice(10, 17)
    seen = np.s_[20 - RADIUS : 31 + RADIUS, 10 - RADIUS : 17 + RADIUS]
    part = decontaminate(pixels[seen], alpha[seen], np.s_[RADIUS : RADIUS + 11, RADIUS : RADIUS + 7])
    np.testing.assert_array_equal(part, whole[rows, columns])
