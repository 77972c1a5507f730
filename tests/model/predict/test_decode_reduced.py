"""JPEG images that are much larger than the network's input are decoded smaller; all others are not affected."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from bench.speed.picture_kinds import KINDS
from model.predict.headers import read_header
from model.predict.image_errors import CorruptImage
from model.predict.images import decode_reduced, decode_resized
from tests.paths import ROOT

PHOTO = ROOT / "examples/astronaut.jpg"  # 512 × 512


def photo(orientation: int = 1, mode: str = "RGB", size: tuple[int, int] = (480, 400)) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.open(PHOTO).convert(mode).resize(size).save(file, "JPEG", quality=90, exif=exif)
    return file.getvalue()


def decoded_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes at which JPEG files are decoded, from now on."""
    sizes = []
    load = JpegImagePlugin.JpegImageFile.load

    def recorded(self: JpegImagePlugin.JpegImageFile) -> object:
        found = load(self)
        sizes.append(self.size)
        return found

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", recorded)
    return sizes


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_the_picture_is_nearly_the_same(orientation: int, mode: str) -> None:
    data = photo(orientation, mode)
    header = read_header(data)
    for size in ((90, 110), (40, 50), (200, 240)):
        exact, found = (decode(data, header, size) for decode in (decode_resized, decode_reduced))
        assert found.shape == exact.shape and found.flags.c_contiguous and found.flags.writeable
        assert np.abs(found.astype(int) - exact).mean() < 4


@pytest.mark.parametrize(
    ("orientation", "asked", "stored"),
    [
        (1, (200, 240), (240, 200)),
        (1, (201, 240), (480, 400)),
        (1, (100, 120), (120, 100)),
        (6, (240, 200), (240, 200)),
        (6, (120, 90), (120, 100)),
    ],
)
def test_it_is_decoded_at_the_least_scale_that_is_large_enough(
    monkeypatch: pytest.MonkeyPatch, orientation: int, asked: tuple[int, int], stored: tuple[int, int]
) -> None:
    data = photo(orientation)
    sizes = decoded_sizes(monkeypatch)
    decode_reduced(data, read_header(data), asked)
    assert set(sizes) == {stored}


def test_what_is_not_twice_as_large_is_decoded_exactly() -> None:
    data = photo()
    np.testing.assert_array_equal(
        decode_reduced(data, read_header(data), (399, 250)),
        decode_resized(data, read_header(data), (399, 250)),
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "JPEG" not in kind])
def test_other_formats_are_decoded_exactly(kind: str) -> None:
    data = KINDS[kind](np.asarray(Image.open(PHOTO).resize((90, 80))))
    header = read_header(data)
    np.testing.assert_array_equal(
        decode_reduced(data, header, (20, 22)), decode_resized(data, header, (20, 22))
    )


def test_a_truncated_file_is_refused_at_any_scale() -> None:
    data = photo()
    with pytest.raises(CorruptImage):
        decode_reduced(data[: len(data) // 2], read_header(data), (40, 50))
