"""Encodings: the same bytes as pycocotools, and polygons that rasterise to the mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as coco

from model.masks import corners, polygon, rle
from model.masks.paste import Crop
from model.masks.polygon import polygons
from model.masks.rle import area, compress, decode, decompress, encode, encode_labels
from model.masks.runs import runs_of
from tests.model.masks import plain_polygon


def on_image(crop: Crop, width: int, height: int) -> NDArray[np.uint8]:
    image = np.zeros((height, width), np.uint8, order="F")
    h, w = crop.bitmap.shape
    image[crop.top : crop.top + h, crop.left : crop.left + w] = crop.bitmap
    return image


def rings_of(crop: Crop) -> list[list[int]]:
    return polygons(runs_of(crop)).tolist()


@st.composite
def crops(draw: st.DrawFn) -> tuple[Crop, int, int]:
    """A crop of any size and place, the whole image among them, from empty to full."""
    width, height = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    left, top = draw(st.integers(0, width)), draw(st.integers(0, height))
    w, h = draw(st.integers(0, width - left)), draw(st.integers(0, height - top))
    if draw(st.booleans()):
        left, top, w, h = 0, 0, width, height
    density = draw(st.sampled_from([0, 0.02, 0.3, 0.5, 0.8, 0.98, 1]))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random((w, h))
    return Crop(left, top, (noise < density).T), width, height


def blob(side: int, seed: int) -> NDArray[np.bool_]:
    """A smooth random shape with several components and holes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = sum(
        np.cos(2 * np.pi * (rng.uniform(-4, 4) * x + rng.uniform(-4, 4) * y + rng.random())) for _ in range(6)
    )
    return np.asarray(waves > 0.3)


@settings(deadline=None, max_examples=400)
@given(crops())
def test_same_as_pycocotools(case: tuple[Crop, int, int]) -> None:
    crop, width, height = case
    image = on_image(crop, width, height)
    theirs = coco.encode(image)
    counts = encode(crop, width, height)
    assert compress(counts) == theirs["counts"].decode()
    assert coco.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width) == theirs
    np.testing.assert_array_equal(decompress(compress(counts)), counts)
    np.testing.assert_array_equal(decode(counts, width, height), image)
    assert area(counts) == coco.area(theirs)


def test_same_as_pycocotools_on_a_large_mask() -> None:
    bitmap = blob(900, 1)
    image = on_image(Crop(2000, 70, bitmap), 4000, 3000)
    counts = encode(Crop(2000, 70, bitmap), 4000, 3000)
    assert compress(counts) == coco.encode(image)["counts"].decode()


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40))
def test_any_32_bit_counts_survive(values: list[int]) -> None:
    counts = np.array(values, np.int64)
    np.testing.assert_array_equal(decompress(compress(counts)), counts)


def test_by_hand() -> None:
    bitmap = np.array([[1, 0], [1, 1]], np.bool_)
    assert encode(Crop(1, 1, bitmap), 4, 3).tolist() == [4, 2, 2, 1, 3]
    assert encode(Crop(0, 0, np.ones((3, 4), np.bool_)), 4, 3).tolist() == [0, 12]
    assert encode(Crop(0, 0, np.zeros((3, 4), np.bool_)), 4, 3).tolist() == [12]
    assert encode(Crop(1, 0, np.ones((3, 2), np.bool_)), 4, 3).tolist() == [3, 6, 3]


@pytest.mark.parametrize("text", ["", "P", "0 0", "é", "0\n", "pppppppppppp0", "1O"])
def test_text_that_is_no_encoding_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="encoding"):
        decompress(text)


@given(st.text(alphabet=[chr(c) for c in range(44, 116)], max_size=30))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    try:
        counts = decompress(text)
    except ValueError:
        return
    assert (counts >= 0).all()


def test_counts_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="not 5 × 5"):
        decode(np.array([4, 5]), 5, 5)


@settings(deadline=None, max_examples=300)
@given(crops())
def test_polygons_rasterise_to_the_mask(case: tuple[Crop, int, int]) -> None:
    crop, width, height = case
    rings = rings_of(crop)
    image = on_image(crop, width, height)
    if not image.any():
        assert rings == []
        return
    assert coco.merge(coco.frPyObjects(rings, height, width)) == coco.encode(image)


@settings(deadline=None, max_examples=400)
@given(crops())
def test_polygons_are_those_of_a_plain_walk_over_the_bitmap(case: tuple[Crop, int, int]) -> None:
    crop, _, _ = case
    assert rings_of(crop) == (plain_polygon.polygons(crop) if crop.bitmap.size else [])


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_polygons_in_several_parts(monkeypatch: pytest.MonkeyPatch, density: float) -> None:
    monkeypatch.setattr(corners, "_PART", 64)
    monkeypatch.setattr(polygon, "_PART", 50)
    noise = np.random.default_rng(3).random((90, 70)) < density
    noise[5:40, 5:60] |= blob(55, 2)[:35]
    assert rings_of(Crop(3, 4, noise)) == plain_polygon.polygons(Crop(3, 4, noise))


@pytest.mark.parametrize("seed", range(5))
def test_polygons_of_smooth_shapes_are_exact(seed: int) -> None:
    crop = Crop(30, 50, blob(300, seed))
    drawn = coco.merge(coco.frPyObjects(rings_of(crop), 400, 400))
    assert drawn == coco.encode(on_image(crop, 400, 400))


def test_rings_by_hand() -> None:
    square = np.ones((2, 3), np.bool_)
    assert rings_of(Crop(10, 20, square)) == [[10, 20, 13, 20, 13, 22, 10, 22]]
    diagonal = np.eye(2, dtype=np.bool_)
    assert rings_of(Crop(0, 0, diagonal)) == [[0, 0, 1, 0, 1, 1, 0, 1], [1, 1, 2, 1, 2, 2, 1, 2]]
    holed = np.ones((3, 3), np.bool_)
    holed[1, 1] = False
    [ring] = rings_of(Crop(0, 0, holed))
    assert ring == [0, 0, 1, 0, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 0, 3, 0, 3, 3, 0, 3]


def test_an_island_in_a_hole_is_a_ring_of_its_own() -> None:
    bitmap = np.ones((7, 7), np.bool_)
    bitmap[1:6, 1:6] = False
    bitmap[3, 3] = True
    assert len(rings_of(Crop(0, 0, bitmap))) == 2


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)),
    st.sampled_from([1, 10, 1000]),
)
def test_label_maps_are_their_masks(labels: NDArray[np.uint8], cells: int) -> None:
    height, width = labels.shape
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rle, "_CELLS", cells)  # columns are treated in parts
        found = encode_labels(labels)
    assert list(found) == np.unique(labels).tolist()
    for label, counts in found.items():
        assert np.array_equal(counts, encode(Crop(0, 0, labels == label), width, height))
