"""What is drawn, and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.errors import UserError
from model.masks.overlay import OPACITY, Layer, check_suffix, colour, draw, painted
from model.masks.paste import Crop


def picture(width: int = 120, height: int = 80) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 100, np.uint8)


def square(left: int, top: int, side: int) -> Crop:
    return Crop(left, top, np.ones((side, side), np.bool_))


def test_fill_outline_and_rest() -> None:
    pixels = picture(300, 200)
    drawn = np.asarray(draw(pixels, [Layer(square(100, 100, 50), "disc 0.90")]))
    shade = np.array(colour(0))
    assert (drawn[100, 100:150] == shade).all()
    assert (drawn[125, 125] == (100 * (1 - OPACITY) + shade * OPACITY).astype(np.uint8)).all()
    assert (drawn[160:] == pixels[160:]).all()
    assert (drawn[70:98] != pixels[70:98]).any()  # the label, above
    assert (pixels == 100).all()


def test_small_masks_are_above_large_ones() -> None:
    small, large = square(140, 140, 20), square(100, 100, 100)
    drawn = np.asarray(draw(picture(300, 300), [Layer(small, "a"), Layer(large, "b")]))
    assert tuple(drawn[140, 150]) == colour(0)


def test_labels_avoid_each_other_and_the_edge() -> None:
    """Two masks in one place at the corner: two labels, both whole."""
    layers = [Layer(square(0, 0, 60), "first"), Layer(square(1, 1, 50), "second")]
    drawn = np.asarray(draw(picture(300, 200), layers))
    for i in range(2):  # rows of an outline: two; of a label: as many as its text is high
        rows = (drawn[:, 4:80] == colour(i)).all(axis=2).sum(axis=1) > 15
        assert rows.sum() > 8


def test_nothing_and_hardly_anything() -> None:
    empty = Crop(5, 5, np.zeros((0, 4), np.bool_))
    hollow = Crop(5, 5, np.zeros((4, 4), np.bool_))
    layers = [Layer(empty, "a"), Layer(hollow, "b")]
    assert (np.asarray(draw(picture(), layers)) == picture()).all()
    assert draw(picture(1, 1), [Layer(square(0, 0, 1), "pixel")]).size == (1, 1)


def test_a_picture_under_its_label_map() -> None:
    pixels, labels = np.full((2, 2, 3), 100, np.uint8), np.array([[0, 1], [1, 255]], np.uint8)
    drawn = np.asarray(painted(pixels, labels, [(200, 100, 0), (0, 0, 0)]))
    assert drawn[0, 0].tolist() == [145, 100, 55] and drawn[0, 1].tolist() == [55, 55, 55]
    assert drawn[1, 1].tolist() == [100, 100, 100]


@pytest.mark.parametrize("name", ["a.psd", "a.xpm", "a.txt", "a"])
def test_formats_that_can_only_be_read_are_refused(name: str) -> None:
    check_suffix(Path("a.PNG"))
    with pytest.raises(UserError, match="name it .png or .jpg"):
        check_suffix(Path(name))
