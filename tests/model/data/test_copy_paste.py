"""Copy-paste: what lies on top hides what is below, and every mask, box and pixel agrees with that."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.augment import tight_box
from model.data.copy_paste import InstanceSample, paste

HEIGHT, WIDTH = 48, 64


def sample(
    boxes: list[tuple[int, int, int, int]],
    colour: int,
    *,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    masked: bool = True,
) -> InstanceSample:
    """Rectangles, each 10 brighter than the one before, on a plain ground."""
    image = np.full((*size, 3), colour, dtype=np.uint8)
    masks = np.zeros((len(boxes), *size), dtype=np.uint8)
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        image[y0:y1, x0:x1] = colour + 10 * (i + 1)
        masks[i, y0:y1, x0:x1] = masked
    return InstanceSample(
        image,
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.arange(len(boxes)),
        masks,
        np.full(len(boxes), masked),
        np.zeros((0, 4), dtype=np.float32),
    )


def rectangles(size: tuple[int, int]) -> st.SearchStrategy[list[tuple[int, int, int, int]]]:
    x, y = (st.tuples(st.integers(0, side - 6), st.integers(5, side)) for side in size[::-1])
    one = st.tuples(x, y).map(lambda p: (p[0][0], p[1][0], p[0][0] + p[0][1], p[1][0] + p[1][1]))
    clipped = one.map(lambda b: (b[0], b[1], min(b[2], size[1]), min(b[3], size[0])))
    return st.lists(clipped, max_size=4)


@given(
    rectangles((HEIGHT, WIDTH)),
    st.tuples(st.integers(8, 70), st.integers(8, 70)).flatmap(lambda s: st.tuples(st.just(s), rectangles(s))),
    st.booleans(),
    st.integers(0, 1000),
)
@settings(max_examples=80, deadline=None)
def test_masks_boxes_and_pixels_agree(
    below: list[tuple[int, int, int, int]],
    above: tuple[tuple[int, int], list[tuple[int, int, int, int]]],
    masked: bool,
    seed: int,
) -> None:
    size, boxes = above
    onto, source = sample(below, 0, masked=masked), sample(boxes, 100, size=size)
    found = paste(onto, source, np.random.default_rng(seed))
    count = len(found.boxes)
    assert found.image.shape == onto.image.shape and found.masks.shape == (count, HEIGHT, WIDTH)
    assert len(found.classes) == len(found.masked) == count
    pasted = found.image[..., 0] >= 100
    tops = [m for m in found.masks[found.masked] if (found.image[..., 0][m > 0] >= 100).all() and m.any()]
    if pasted.any():
        assert (np.max(tops, axis=0) == pasted).all()  # every pasted pixel belongs to a pasted instance
        assert (found.image[~pasted] == onto.image[~pasted]).all()
    else:
        assert found is onto
    for mask, box, known in zip(found.masks, found.boxes, found.masked, strict=True):
        assert known or not mask.any()
        if known and pasted.any():
            assert mask.any() and (tight_box(mask) == box).all()


def test_what_is_hidden_is_dropped_and_what_is_cut_gets_a_tight_box() -> None:
    onto = sample([(0, 0, 8, 8), (10, 0, 50, 40)], 0, size=(40, 50))
    cover = sample([(0, 0, 200, 20)], 100, size=(20, 200))  # as wide as everything, wherever it lands
    for seed in range(20):
        found = paste(onto, cover, np.random.default_rng(seed))
        row = np.flatnonzero((found.image[..., 0] >= 100).all(axis=1))
        if len(row) == 0 or row[0] > 0 or row[-1] < 8:
            continue
        assert found.ignored.tolist() == [[0, 0, 0, 0]]  # nothing is left of it to see
        assert found.classes.tolist() == [1, 0] and found.boxes[0].tolist() == [10, row[-1] + 1, 50, 40]
        return
    pytest.fail("the strip never covered the small one")


def test_boxes_without_masks_stay_until_nearly_covered() -> None:
    onto = sample([(0, 0, 40, 40)], 0, size=(40, 40), masked=False)
    half = paste(onto, sample([(0, 0, 20, 10)], 100, size=(10, 20)), np.random.default_rng(0))
    assert half.masked.tolist() == [False, True] and half.boxes[0].tolist() == [0, 0, 40, 40]
    whole = paste(onto, sample([(0, 0, 80, 80)], 100, size=(80, 80)), np.random.default_rng(3))
    assert whole.masked.tolist() == [True] and whole.ignored.tolist() == [[0, 0, 40, 40]]


def test_what_is_left_of_a_nearly_hidden_one_is_ignored() -> None:
    onto = dataclasses.replace(
        sample([(0, 0, 40, 40)], 0, size=(40, 40)), ignored=np.ones((1, 4), np.float32)
    )
    cover = sample([(0, 0, 80, 35)], 100, size=(35, 80))
    for seed in range(50):
        found = paste(onto, cover, np.random.default_rng(seed))
        if found.masked.tolist() == [True]:
            rest = tight_box((found.image[..., 0] < 100).astype(np.uint8))
            assert found.ignored.tolist() == [[1, 1, 1, 1], rest.tolist()]
            return
    pytest.fail("the cover never hid it")


@pytest.mark.parametrize("masked", [True, False])
def test_nothing_to_paste_changes_nothing(masked: bool) -> None:
    onto = sample([(0, 0, 8, 8)], 0)
    assert paste(onto, sample([], 100), np.random.default_rng(0)) is onto
    assert paste(onto, sample([(0, 0, 9, 9)], 100, masked=False), np.random.default_rng(0)) is onto


def test_the_images_given_are_not_written_to() -> None:
    onto, source = sample([(0, 0, 30, 30)], 0), sample([(0, 0, 30, 30)], 100)
    before = [array.copy() for array in (onto.image, onto.boxes, onto.masks, source.image, source.masks)]
    paste(onto, source, np.random.default_rng(0))
    after = (onto.image, onto.boxes, onto.masks, source.image, source.masks)
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
