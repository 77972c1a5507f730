"""Views of annotated images: sizes, and boxes that stay with their masks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.augment import Augmentation, CompressedRle, Shape, View, augment, tight_box
from model.predict.resize import resized_size
from tests import paths
from tests.model.coco_files import bitmap, compressed

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools

GOLDEN = json.loads((paths.GOLDEN / "units.json").read_text())
PLAIN = Augmentation((60,), 200, flip=0)


def picture(height: int = 60, width: int = 80) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def polygon(
    x0: float, y0: float, x1: float, y1: float
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return (np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float32),)


def rle(x: int, y: int, w: int, h: int) -> CompressedRle:
    packed = compressed(bitmap(x, y, w, h))
    return CompressedRle(size=packed["size"], counts=packed["counts"].encode())


@pytest.mark.parametrize("case", GOLDEN["resize_shortest_edge"])
def test_sizes_are_the_references(case: dict[str, Any]) -> None:
    assert list(resized_size(case["h"], case["w"], case["short"], case["max"])) == case["out"]


def test_small_images_are_not_enlarged_beyond_the_limit() -> None:
    views = Augmentation((60,), 200, flip=0, enlarge=1.5)
    rng = np.random.default_rng(0)
    assert views.view(20, 30, rng).size == (30, 45)
    assert views.view(50, 80, rng).size == (60, 96)


def test_without_change_nothing_changes() -> None:
    image, boxes = picture(), np.array([[10.25, 5, 30, 45.5]])
    view = augment(image, boxes, [polygon(10, 5, 30, 45)], PLAIN, np.random.default_rng(0))
    assert (view.image == image).all() and np.allclose(view.boxes, boxes) and view.kept.tolist() == [0]
    assert (view.masks[0] == bitmap(10, 5, 20, 40)).all()


def test_flip_mirrors_picture_boxes_and_masks() -> None:
    image, boxes = picture(), np.array([[10.0, 5, 30, 45], [0, 0, 20, 20]])
    shapes: list[Shape] = [polygon(10, 5, 30, 45), rle(0, 0, 20, 20)]
    recipe = Augmentation((60,), 200, flip=1)
    view = augment(image, boxes, shapes, recipe, np.random.default_rng(0))
    assert (view.image == image[:, ::-1]).all()
    assert view.boxes.tolist() == [[50, 5, 70, 45], [60, 0, 80, 20]]
    assert (view.masks[0] == bitmap(50, 5, 20, 40)).all() and (view.masks[1] == bitmap(60, 0, 20, 20)).all()


def test_a_crop_is_the_rectangle_of_the_picture() -> None:
    image = picture()
    view = View(origin=(20, 10), extent=(40, 30), size=(30, 40))
    assert (np.asarray(view.image(image)) == image[10:40, 20:60]).all()
    assert (view.mask(rle(25, 5, 10, 20)) == bitmap(5, 0, 10, 15, (30, 40))).all()
    assert (view.mask(polygon(25, 5, 35, 25)) == bitmap(5, 0, 10, 15, (30, 40))).all()
    assert view.boxes(np.array([[25.0, 5, 35, 25]])).tolist() == [[5, -5, 15, 15]]


@settings(deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(0, 55),
    st.integers(0, 40),
    st.integers(4, 25),
    st.integers(4, 20),
    st.booleans(),
)
def test_boxes_stay_tight_around_masks(seed: int, x: int, y: int, w: int, h: int, as_rle: bool) -> None:
    recipe = Augmentation((40, 60, 90), 150, flip=0.5, crop=0.8, crop_least=0.4, colour=0.3)
    shape = rle(x, y, w, h) if as_rle else polygon(x, y, x + w, y + h)
    boxes = np.array([[x, y, x + w, y + h]], dtype=np.float64)
    view = augment(picture(), boxes, [shape], recipe, np.random.default_rng(seed))
    height, width = view.image.shape[:2]
    assert view.masks.shape == (len(view.kept), height, width)
    assert max(height, width) <= 150 and view.masks.dtype == np.uint8 and view.boxes.dtype == np.float32
    for box, mask in zip(view.boxes, view.masks, strict=True):
        assert set(np.unique(mask)) <= {0, 1}
        assert np.abs(tight_box(mask) - box).max() <= 1.0
        assert (box >= 0).all() and box[2] <= width and box[3] <= height


@pytest.mark.parametrize("shapes", [True, False])
def test_what_a_crop_leaves_too_little_of_is_dropped(shapes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    crop = View(origin=(0, 0), extent=(40, 60), size=(60, 40))
    monkeypatch.setattr(Augmentation, "view", lambda *_: crop)
    corners = [(35, 0, 75, 20), (30, 10, 50, 30), (0, 0, 20, 20), (39, 0, 42, 30), (50, 0, 70, 9)]
    view = augment(
        picture(),
        np.array(corners, dtype=np.float64),
        [polygon(*c) if shapes else None for c in corners],
        PLAIN,
        np.random.default_rng(0),
    )
    assert view.ignored[:2].tolist() == [[35, 0, 40, 20], [39, 0, 40, 30]]  # of the third nothing is in view
    assert view.kept.tolist() == [1, 2]  # an eighth, a half, all, less than 2 pixels, nothing
    assert view.boxes.tolist() == [[30, 10, 40, 30], [0, 0, 20, 20]]
    assert view.masks.any() == shapes


def test_a_cut_box_follows_what_is_left_of_its_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ls whose feet lie in the cut part: what is left is narrower than the clipped box."""
    crop = View(origin=(0, 0), extent=(80, 40), size=(40, 80))
    monkeypatch.setattr(Augmentation, "view", lambda *_: crop)
    slim, broad = (
        np.array([[10, 0], [x, 0], [x, 45], [50, 45], [50, 50], [10, 50]], dtype=np.float32) for x in (20, 25)
    )
    boxes = np.array([[10.0, 0, 50, 50]] * 2)
    view = augment(picture(), boxes, [(slim,), (broad,)], PLAIN, np.random.default_rng(0))
    assert view.boxes.tolist() == [[10, 0, 25, 40]]
    assert view.kept.tolist() == [1]  # the slim one keeps 400 of its box's 2000 pixels, the broad one 600


def test_an_image_without_instances() -> None:
    recipe = Augmentation((30,), 200, crop=1)
    view = augment(picture(), np.zeros((0, 4)), [], recipe, np.random.default_rng(0))
    assert view.boxes.shape == (0, 4) and view.kept.shape == (0,)
    assert view.masks.shape == (0, *view.image.shape[:2])


def test_crowds_are_ignored_where_they_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    crop = View(origin=(10, 0), extent=(40, 60), size=(120, 80))
    monkeypatch.setattr(Augmentation, "view", lambda *_: crop)
    rng = np.random.default_rng(0)
    view = augment(picture(), np.zeros((0, 4)), [], PLAIN, rng, [(5.0, 10, 20, 70)])
    assert view.ignored.tolist() == [[0, 20, 20, 120]]


def test_colour_changes_pixels_and_nothing_else() -> None:
    boxes = np.array([[10.0, 5, 30, 45]])
    recipe = Augmentation((60,), 200, flip=0, colour=0.4)
    view = augment(picture(), boxes, [None] * len(boxes), recipe, np.random.default_rng(0))
    assert (view.image != picture()).any() and np.allclose(view.boxes, boxes)


def test_equal_generators_give_equal_views() -> None:
    recipe = Augmentation((40, 50, 60), 200, crop=0.5, colour=0.4)
    boxes = np.array([[10.0, 5, 30, 45]])
    one, same, other = (
        augment(picture(), boxes, [None] * len(boxes), recipe, np.random.default_rng(s)) for s in (3, 3, 4)
    )
    assert np.array_equal(one.image, same.image) and np.array_equal(one.boxes, same.boxes)
    assert not np.array_equal(one.image, other.image)


@pytest.mark.parametrize(
    "wrong",
    [
        {"short_edges": ()},
        {"short_edges": (0,)},
        {"flip": 2},
        {"crop_least": 0},
        {"colour": 1},
        {"enlarge": 0.5},
    ],
)
def test_impossible_augmentations_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Augmentation(**wrong)  # type: ignore[arg-type]


def test_a_crop_has_the_shape_of_its_image() -> None:
    recipe = Augmentation((60,), 200, crop=1, crop_least=0.3)
    rng = np.random.default_rng(0)
    for _ in range(20):
        width, height = recipe.view(300, 400, rng).extent
        assert width < 400 and width / height == pytest.approx(4 / 3, rel=0.02)
