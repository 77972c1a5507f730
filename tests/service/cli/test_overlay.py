"""Answers of every format are drawn alike, and a label map has a legend."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.config.categories import Category
from model.masks import rle
from model.masks.palette import VOID, default_palette
from model.masks.paste import Crop
from service.cli.legend import with_legend
from service.cli.overlay import Look, count, drawn
from tests.service.support import encoded

HEIGHT, WIDTH = 40, 60
PIXELS = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
PEOPLE = Look("instance", (Category(1, "person"),), ())
STREET = Look("semantic", (Category(4, "road"), Category(0, "sky")), default_palette(2))


# The outlines of the same: the hole is cut in from the left.
POLYGONS = [
    [13, 17, 30, 17, 30, 33, 13, 33, 13, 21, 18, 21, 18, 27, 25, 27, 25, 21, 13, 21],
    [35, 15, 40, 15, 40, 16, 35, 16],
]


def ring() -> Crop:
    """A ring with a hole, and a part of its own."""
    bitmap = np.zeros((20, 30), bool)
    bitmap[2:18, 3:20] = True
    bitmap[6:12, 8:15] = False
    bitmap[0, 25:30] = True
    return Crop(10, 15, bitmap)


def runs(as_text: bool) -> dict[str, Any]:
    counts = rle.encode(ring(), WIDTH, HEIGHT)
    return {"size": [HEIGHT, WIDTH], "counts": rle.compress(counts) if as_text else counts.tolist()}


def instance(segmentation: Any) -> dict[str, Any]:
    return {"category_id": 1, "category": "person", "score": 0.9, "segmentation": segmentation}


def pixels_of(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture)


def test_instances_of_every_format_are_drawn_alike() -> None:
    contents: list[Any] = [{"instances": [instance(runs(as_text))]} for as_text in (True, False)]
    contents.append({"instances": [instance(POLYGONS)]})
    entry = instance(runs(True))
    del entry["category"]
    contents.append([{"image_id": 7, **entry}])
    pictures = [pixels_of(drawn(PIXELS, json.dumps(content).encode(), PEOPLE)) for content in contents]
    for picture in pictures:
        assert np.array_equal(picture, pictures[0])
    assert (pictures[0] != PIXELS).any() and pictures[0].shape == PIXELS.shape


def test_an_image_of_nothing_stays_as_it_is() -> None:
    assert np.array_equal(pixels_of(drawn(PIXELS, b'{"instances": []}', PEOPLE)), PIXELS)
    assert np.array_equal(pixels_of(drawn(PIXELS, b'{"segments": []}', STREET)), PIXELS)


def palette_image(labels: NDArray[np.uint8]) -> Image.Image:
    """A label map as a palette image whose indices are the labels."""
    image = Image.fromarray(labels).convert("P")
    colours = [part for colour in STREET.palette for part in colour]
    image.putpalette(colours + [0] * (3 * 256 - len(colours)))
    return image


def test_label_maps_of_every_format_are_drawn_alike_with_a_legend() -> None:
    labels = np.full((HEIGHT, WIDTH), VOID, np.uint8)
    labels[rle.decode(rle.encode(ring(), WIDTH, HEIGHT), WIDTH, HEIGHT)] = 0
    segment = {"category_id": 4, "category": "road", "area": 1, "segmentation": runs(True)}
    as_json = json.dumps({"segments": [segment]}).encode()
    finer = labels.repeat(2, 0).repeat(2, 1)
    pictures = [
        pixels_of(drawn(PIXELS, answer, STREET))
        for answer in (
            as_json,
            encoded(palette_image(labels)),
            encoded(palette_image(finer)),
        )
    ]
    for picture in pictures:
        assert np.array_equal(picture, pictures[0])
    found = pictures[0]
    assert found.shape[0] > HEIGHT and found.shape[1] == WIDTH
    assert np.array_equal(found[:5], PIXELS[:5])  # the picture stays where it is
    legend = found[HEIGHT:].reshape(-1, 3)
    road, sky = (np.array(shade) for shade in STREET.palette)
    assert (legend == road).all(1).any() and not (legend == sky).all(1).any()


def test_a_long_legend_has_several_lines() -> None:
    entries = [(shade, f"class {i}") for i, shade in enumerate(default_palette(12))]
    one = with_legend(Image.fromarray(PIXELS), entries[:1]).height - HEIGHT
    assert with_legend(Image.fromarray(PIXELS), entries).height - HEIGHT >= 6 * one
    assert with_legend(Image.fromarray(PIXELS), []).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("answer", "number"),
    [(b'{"instances": [1, 2]}', 2), (b'{"segments": [1]}', 1), (b"[]", 0), (b"\x89PNG\r\n", None)],
)
def test_what_is_counted(answer: bytes, number: int | None) -> None:
    assert count(answer) == number
