"""Decoding and resizing at once gives the pixels of `decode`, resized, within the memory that is forecast."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from bench.speed.decoding import measured
from bench.speed.picture_kinds import KINDS, picture
from model.predict.colours import displayed_colours
from model.predict.forecast import forecast
from model.predict.headers import read_header
from model.predict.image_errors import CorruptImage, TooMuchMemory
from model.predict.images import decode, decode_resized

SMALL = picture(240, 330)
SIZES = [(100, 150), (240, 330), (330, 240), (400, 331), (240, 50), (1, 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_pixels_are_those_of_decode(kind: str) -> None:
    data = KINDS[kind](SMALL)
    header, decoded = read_header(data), decode(data, max_pixels=10**6)
    assert (header.height, header.width) == decoded.pixels.shape[:2]
    for height, width in SIZES:
        resized = Image.fromarray(decoded.pixels).resize((width, height), Image.Resampling.BILINEAR)
        found = decode_resized(data, header, (height, width))
        assert found.flags.c_contiguous and found.flags.writeable
        np.testing.assert_array_equal(found, np.asarray(resized))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_every_orientation(orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(SMALL).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    data = _png(image, exif)
    upright = _png(_turned(image, orientation), None)
    np.testing.assert_array_equal(
        decode(data, max_pixels=10**6).pixels, decode(upright, max_pixels=10**6).pixels
    )
    np.testing.assert_array_equal(
        decode_resized(data, read_header(data), (99, 77)),
        decode_resized(upright, read_header(upright), (99, 77)),
    )


def _png(image: Image.Image, exif: Image.Exif | None) -> bytes:

    file = io.BytesIO()
    image.save(file, "PNG", **({} if exif is None else {"exif": exif}))
    return file.getvalue()


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    methods = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    methods |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    name = methods.get(orientation)
    return image.transpose(Image.Transpose[name]) if name else image


@pytest.mark.parametrize("shape", [(1, 700_000), (700_000, 1), (3, 300_001)])
def test_bands_of_extreme_shapes(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*shape, 4), np.uint8)
    expected = np.asarray(_on_white(Image.fromarray(pixels)))
    np.testing.assert_array_equal(
        np.asarray(displayed_colours(Image.fromarray(pixels)).convert("RGB")), expected
    )


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return white


def test_running_out_of_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    data = KINDS["JPEG grey"](SMALL)

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("model.predict.images.displayed_colours", full)
    with pytest.raises(TooMuchMemory, match="330 × 240 pixels takes too much memory") as caught:
        decode_resized(data, read_header(data), (10, 10))
    assert caught.value.kind == "too-much-memory"
    with pytest.raises(TooMuchMemory):
        decode(data, max_pixels=10**6)


def test_a_header_of_another_file_is_refused() -> None:
    """Pixels are bounded by the header, so the picture must have its size."""
    with pytest.raises(CorruptImage, match="contradicts itself"):
        decode_resized(KINDS["BMP"](SMALL), read_header(KINDS["BMP"](SMALL[:100])), (10, 10))


LARGE = picture(1500, 2000)


@pytest.mark.skipif(sys.platform != "linux", reason="the highest memory of a process is read from /proc")
@pytest.mark.parametrize(
    "kind", ["JPEG turned", "JPEG progressive", "PNG RGBA", "WebP lossless", "TIFF deflate, one strip", "GIF"]
)
def test_memory_is_forecast(kind: str) -> None:
    found = measured(KINDS[kind](LARGE))
    assert found.bytes <= found.forecast_bytes <= 1.6 * found.bytes


def test_what_costs_more_is_forecast_to_cost_more() -> None:
    def cost(kind: str) -> tuple[int, float]:
        found = forecast(read_header(KINDS[kind](SMALL)))
        return found.bytes, found.seconds

    for cheap, dear in (
        ("JPEG 4:2:0", "JPEG progressive"),
        ("PNG RGB", "PNG RGBA 16"),
        ("WebP lossy", "WebP lossless"),
        ("TIFF LZW", "TIFF LZMA, one strip"),
        ("BMP palette", "BMP run lengths"),
    ):
        assert cost(cheap)[0] < 1.1 * cost(dear)[0] and cost(cheap)[1] < cost(dear)[1]
    assert cost("JPEG 4:2:0")[1] < cost("JPEG with profile")[1]


def test_a_file_of_few_bytes_is_forecast_by_its_pixels() -> None:
    """A lossless WebP of one colour is 46 bytes long, whatever its size."""
    bits = 0x2F | (6999 | 6999 << 14) << 8
    chunk = b"VP8L" + (26).to_bytes(4, "little") + bits.to_bytes(5, "little") + bytes(21)
    header = read_header(b"RIFF" + (len(chunk) + 4).to_bytes(4, "little") + b"WEBP" + chunk)
    assert (header.width, header.height, header.kind) == (7000, 7000, "lossless")
    assert forecast(header).bytes > 16 * 49_000_000
