"""Cut-outs: their geometry, the same in any bands, what is asked for, and what is refused."""

from __future__ import annotations

import io
import struct
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from model.masks.coverage import alpha_of, coverage
from model.masks.decontaminate import decontaminate
from model.predict.instance import Instances, Mask
from service.output import limits
from service.output.encode import encode
from service.output.format import Found
from service.output.formats import FORMATS
from service.output.limits import AnswerTooLarge
from service.output.pictures import cutout
from tests.service.output.test_encode import found, mask

WIDTH, HEIGHT = 90, 70
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def disc(box: tuple[float, ...], side: int = 56) -> Mask:
    cells = torch.linspace(-1, 1, side)
    logits = 20 * (0.8 - (cells[:, None] ** 2 + cells**2).sqrt())
    return Mask(0, 0.9, np.array(box, np.float32), logits, None, False)


ONE, OTHER = disc((10.5, 5, 40, 35.5)), disc((30, 20, 95, 66))


def case(*masks: Mask, crop: bool = False) -> Found:
    return replace(found(Instances(masks), WIDTH, HEIGHT), pixels=PIXELS if masks else None, crop=crop)


def body(of: Found) -> bytes:
    return encode(of, FORMATS["cutout"], {}, 0.0).body


def decoded(file: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(file)) as picture:
        assert picture.mode == "RGBA"
        return np.array(picture)


def alpha(*masks: Mask) -> NDArray[np.uint8]:
    bits = np.zeros((HEIGHT, WIDTH), np.uint16)
    for each in masks:
        coverage(each.logits.numpy(), each.box.tolist(), WIDTH, HEIGHT).add(bits, 0)
    return alpha_of(bits)


def offset(file: bytes) -> tuple[int, int]:
    at = file.index(b"oFFs") + 4
    left, top, unit = struct.unpack(">iiB", file[at : at + 9])
    assert unit == 0
    return left, top


@pytest.mark.parametrize("pixels", [50, 1000, 2**20])
def test_a_cut_out_has_the_coverage_and_the_foreground_s_colours(
    monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    """Whatever the bands: of a row that has more pixels than a band may have, of some rows, or of all."""
    monkeypatch.setattr(cutout, "BAND", pixels)
    picture = decoded(body(case(ONE, OTHER)))
    expected = alpha(ONE, OTHER)
    np.testing.assert_array_equal(picture[..., 3], expected)
    colours = decontaminate(PIXELS, expected, np.s_[0:HEIGHT, 0:WIDTH])
    np.testing.assert_array_equal(picture[..., :3], colours)
    np.testing.assert_array_equal(picture[expected == 255, :3], PIXELS[expected == 255])


@pytest.mark.parametrize("masks", [(ONE,), (OTHER,), (ONE, OTHER)])
@pytest.mark.parametrize("pixels", [50, 2**20])
def test_a_crop_is_the_part_that_is_not_transparent(
    monkeypatch: pytest.MonkeyPatch, masks: tuple[Mask, ...], pixels: int
) -> None:
    monkeypatch.setattr(cutout, "BAND", pixels)
    whole, file = decoded(body(case(*masks))), body(case(*masks, crop=True))
    crop, (left, top) = decoded(file), offset(file)
    height, width = crop.shape[:2]
    rows, columns = np.nonzero(whole[..., 3])
    assert (left, top) == (columns.min(), rows.min())
    assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
    np.testing.assert_array_equal(crop, whole[top : top + height, left : left + width])


@pytest.mark.parametrize("crop", [False, True])
def test_nothing_to_show_is_a_transparent_picture_of_the_image_s_size(crop: bool) -> None:
    for nothing in (case(crop=crop), case(mask(28, (5, 5, 40, 40), 1, least=-9), crop=crop)):
        picture = decoded(body(nothing))
        assert picture.shape == (HEIGHT, WIDTH, 4) and not picture.any()


def test_masks_may_lie_beyond_the_image() -> None:
    picture = decoded(body(case(disc((-30, -30, 20, 20)), disc((80, 60, 300, 300)), disc((200, 5, 300, 60)))))
    assert picture[5, 5, 3] == 255 and picture.shape == (HEIGHT, WIDTH, 4)


def test_too_many_pixels_at_edges_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In both passes of a crop, but they do not count twice."""
    bits = np.zeros((HEIGHT, WIDTH), np.uint16)
    sampled = coverage(ONE.logits.numpy(), ONE.box.tolist(), WIDTH, HEIGHT).add(bits, 0)
    for crop in (False, True):
        monkeypatch.setattr(limits.Allowance, "__init__", _allow(sampled))
        assert body(case(ONE, crop=crop))
        monkeypatch.setattr(limits.Allowance, "__init__", _allow(sampled - 1))
        with pytest.raises(AnswerTooLarge, match="may have 4000000 at its edges"):
            body(case(ONE, crop=crop))


def _allow(edge: int):  # type: ignore[no-untyped-def]
    def init(self: limits.Allowance, abandoned: threading.Event, **_: int) -> None:
        self.abandoned, self.edge = abandoned, edge

    return init
