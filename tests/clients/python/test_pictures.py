"""What may be given as an image."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pointrend_client import ClientError
from pointrend_client.pictures import file_of
from tests.service.support import encoded

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)


def pixels_of(picture: Any) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(file_of(picture))) as image:
        return np.asarray(image)


def test_files_are_sent_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data := encoded(PIXELS))
    assert {file_of(given) for given in (data, bytearray(data), memoryview(data), path, str(path))} == {data}
    with path.open("rb") as file:
        assert file_of(file) == data
    with pytest.raises(FileNotFoundError):
        file_of(tmp_path / "missing.png")


def test_arrays_are_sent_with_all_their_pixels() -> None:
    assert np.array_equal(pixels_of(PIXELS), PIXELS)
    assert np.array_equal(pixels_of(PIXELS[:, :, 0]), PIXELS[:, :, 0])
    assert np.array_equal(pixels_of(PIXELS[::-1, :, ::-1]), PIXELS[::-1, :, ::-1])  # BGR, turned by a view
    alpha = np.dstack([PIXELS, PIXELS[:, :, 0]])
    assert np.array_equal(pixels_of(alpha), alpha)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "CMYK", "YCbCr", "I;16"])
def test_pil_images_of_any_mode(mode: str) -> None:
    image = Image.new(mode, (6, 4)) if mode == "I;16" else Image.fromarray(PIXELS).convert(mode)
    assert pixels_of(image).shape[:2] == (4, 6)
    if mode == "RGB":
        assert np.array_equal(pixels_of(image), PIXELS)


def test_a_pil_image_is_sent_as_its_pixels_lie() -> None:
    """Masks must fit the picture that the caller holds."""
    turned = Image.Exif()
    turned[0x0112] = 6
    with Image.open(io.BytesIO(encoded(PIXELS, "JPEG", exif=turned))) as held:
        sent = Image.open(io.BytesIO(file_of(held)))
        assert sent.size == held.size
        assert 0x0112 not in sent.getexif()


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (PIXELS.astype(np.float32), r"got float32 of shape \[4, 6, 3\]"),
        (PIXELS.transpose(2, 0, 1), r"got uint8 of shape \[3, 4, 6\]"),
        (PIXELS[None], r"got uint8 of shape \[1, 4, 6, 3\]"),
        (np.zeros((0, 6, 3), np.uint8), r"got uint8 of shape \[0, 6, 3\]"),
        (None, "got NoneType"),
        ([[1, 2], [3, 4]], "got list"),
        (io.StringIO("text"), "binary mode"),
    ],
)
def test_anything_else_is_refused_in_words(wrong: Any, got: str) -> None:
    with pytest.raises(ClientError, match=got):
        file_of(wrong)
