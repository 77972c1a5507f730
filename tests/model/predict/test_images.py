"""Decoding: every kind of pixels lands on the RGB it shows, and bad bytes land on a documented error."""

import io
import random
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from model.predict.headers.jpeg import jpeg_scans
from model.predict.image_errors import (
    CorruptImage,
    EmptyBody,
    ImageError,
    NotAnImage,
    TooManyPixels,
    UnsupportedFormat,
)
from model.predict.images import DecodedImage, decode

LIMIT = 1_000_000
FORMATS = ["JPEG", "PNG", "WebP", "GIF", "TIFF", "BMP"]


def body(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> NDArray[np.uint8]:
    decoded = decode(data, max_pixels=LIMIT)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape == (decoded.height, decoded.width, 3)
    assert decoded.pixels.flags.c_contiguous
    assert decoded.pixels.flags.writeable
    return decoded.pixels


def picture(width: int = 48, height: int = 40) -> NDArray[np.uint8]:
    """Smooth in all channels, so that lossy formats come close."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 5, y * 6, 255 - x * 2 - y * 3], axis=-1).astype(np.uint8)


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    chunks = b"".join(chunk(*each) for each in extra)
    rest = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + chunks + rest


@pytest.mark.parametrize("format", FORMATS)
def test_formats(format: str) -> None:
    decoded = decode(body(Image.fromarray(picture()), format, quality=95), max_pixels=LIMIT)
    assert (decoded.format, decoded.width, decoded.height) == (format, 48, 40)
    if format in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(decoded.pixels, picture())
    else:
        assert np.abs(decoded.pixels.astype(int) - picture()).mean() < (6 if format == "GIF" else 2)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey(mode: str) -> None:
    image = Image.fromarray(np.array([[0, 255, 0]], np.uint8)).convert(mode)
    assert pixels(body(image)).tolist() == [[[0] * 3, [255] * 3, [0] * 3]]


def test_grey_with_alpha_is_laid_on_white() -> None:
    image = Image.fromarray(np.array([[[100, 255], [100, 0], [0, 128]]], np.uint8), "LA")
    assert pixels(body(image))[0, :, 0].tolist() == [100, 255, 127]


def test_rgb_with_alpha_is_laid_on_white() -> None:
    image = Image.fromarray(np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8))
    for format in ("PNG", "TIFF"):
        assert pixels(body(image, format)).tolist() == [[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]


@pytest.mark.parametrize(
    ("transparency", "expected"),
    [
        (None, [[9, 8, 7], [60, 50, 40]]),
        (1, [[9, 8, 7], [255, 255, 255]]),
        (b"\x80\xff", [[132, 131, 131], [60, 50, 40]]),
    ],
)
def test_palette(transparency: int | bytes | None, expected: list[list[int]]) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 60, 50, 40])
    image.putpixel((1, 0), 1)
    options: dict[str, Any] = {} if transparency is None else {"transparency": transparency}
    assert np.abs(pixels(body(image, **options)).astype(int) - [expected]).max() <= 1


def test_colour_key_is_transparent() -> None:
    data = png(2, 1, 8, 2, b"\0\1\2\3\4\5\6", (b"tRNS", struct.pack(">3H", 1, 2, 3)))
    assert pixels(data).tolist() == [[[255, 255, 255], [4, 5, 6]]]


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    grey = np.array([[0, 0x00FF, 0x0100, 0x8000, 0xFFFF]], np.uint16)
    for format in ("PNG", "TIFF"):
        assert pixels(body(Image.fromarray(grey), format))[0, :, 0].tolist() == [0, 0, 1, 0x80, 0xFF]


def test_16_bit_big_endian_tiff() -> None:
    tags = [(256, 2), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 4)]
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    data = b"MM\0*" + struct.pack(">IHHH", 12, 0x1234, 0xFEDC, len(tags)) + entries + bytes(4)
    assert pixels(data)[0, :, 0].tolist() == [0x12, 0xFE]


def test_16_bit_rgb() -> None:
    data = png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0, 0xFFFF, 0xFF))
    assert pixels(data).tolist() == [[[0x12, 0x56, 0x9A], [0, 0xFF, 0]]]


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk(format: str) -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(pixels(body(image, format)).astype(int) - [255, 0, 0]).max() <= 3


def test_ycck_jpeg() -> None:
    # Red is written as planes Y, Cb, Cr of its complement, cyan; Pillow inverts what it writes. The
    # Adobe marker's last byte then says YCCK (2) instead of CMYK (0).
    data = bytearray(body(Image.new("CMYK", (8, 8), (255 - 179, 255 - 171, 255 - 1, 0)), "JPEG", quality=100))
    data[data.index(b"Adobe") + 11] = 2
    assert np.abs(pixels(bytes(data)).astype(int) - [255, 0, 0]).max() <= 4


def test_profile_is_converted_to_srgb() -> None:
    data = np.array([[[255, 0, 0], [0, 255, 0], [128, 128, 128]]], np.uint8)
    swapped = _rgb_profile_with_swapped_primaries()
    shown = pixels(body(Image.fromarray(data), icc_profile=swapped))
    np.testing.assert_array_equal(shown, data[..., [1, 0, 2]])
    with_alpha = Image.fromarray(np.dstack([data, np.full((1, 3), 255, np.uint8)]))
    np.testing.assert_array_equal(pixels(body(with_alpha, icc_profile=swapped)), shown)


def _rgb_profile_with_swapped_primaries() -> bytes:
    """sRGB with the red and the green primary exchanged, and a name of its own."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[:] = profile.replace("sRGB built-in".encode("utf-16-be"), "swapped rgbs!".encode("utf-16-be"))
    tags = profile.replace(b"rXYZ", b"?XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"?XYZ", b"gXYZ", 1)
    return bytes(tags)


@pytest.mark.parametrize(
    "profile",
    [b"not a profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()],
    ids=["broken", "other space"],
)
def test_unusable_profile_is_ignored(profile: bytes) -> None:
    np.testing.assert_array_equal(pixels(body(Image.fromarray(picture()), icc_profile=profile)), picture())


@pytest.mark.parametrize("format", ["GIF", "WebP", "PNG"])
def test_animation_gives_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "lime", "blue")]
    data = body(frames[0], format, save_all=True, append_images=frames[1:], duration=50)
    assert np.abs(pixels(data).astype(int) - [255, 0, 0]).max() <= 4


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WebP"])
@pytest.mark.parametrize("orientation", range(9))
def test_exif_orientation(format: str, orientation: int) -> None:
    upright = np.kron(np.array([[0, 80, 160], [250, 40, 120]], np.uint8), np.ones((8, 8), np.uint8))
    stored = {
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }.get(orientation, upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = body(Image.fromarray(np.ascontiguousarray(stored)).convert("RGB"), format, exif=exif, quality=100)
    shown = pixels(data)[..., 0].astype(int)
    assert shown.shape == upright.shape
    assert np.abs(shown - upright).max() <= 12


def test_broken_exif_is_ignored() -> None:
    data = body(Image.fromarray(picture()), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(pixels(data), picture())


@pytest.mark.parametrize("format", FORMATS)
def test_one_pixel(format: str) -> None:
    assert pixels(body(Image.new("RGB", (1, 1), "white"), format)).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyBody),
        (b"just some text\n", NotAnImage),
        (b"<html><body>502</body></html>", NotAnImage),
        (bytes(1000), NotAnImage),
        (b"\xff\xd8\xff", CorruptImage),
        (b"BMW is not a bitmap", CorruptImage),
        (b"\0\0\0\x20ftypavif\0\0\0\0", UnsupportedFormat),
        (b"\0\0\0\x20ftypheic\0\0\0\0", UnsupportedFormat),
        (b"P6 1 1 255\n\0\0\0", UnsupportedFormat),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', UnsupportedFormat),
        (b"%PDF-1.7\n", UnsupportedFormat),
    ],
)
def test_what_is_refused(data: bytes, error: type[ImageError]) -> None:
    with pytest.raises(error) as caught:
        decode(data, max_pixels=LIMIT)
    assert caught.value.kind
    assert "\n" not in str(caught.value)
    assert "use" in str(caught.value)


@pytest.mark.parametrize("format", ["ICO", "PPM", "JPEG2000", "AVIF"])
def test_formats_that_pillow_knows_but_we_do_not_allow(format: str) -> None:
    with pytest.raises(UnsupportedFormat):
        decode(body(Image.fromarray(picture()), format), max_pixels=LIMIT)


def test_float_pixels_are_refused() -> None:
    with pytest.raises(UnsupportedFormat, match="kind F"):
        decode(body(Image.new("F", (4, 4)), "TIFF"), max_pixels=LIMIT)


@pytest.mark.parametrize("format", FORMATS)
def test_pixel_limit(format: str) -> None:
    data = body(Image.fromarray(picture()), format)
    assert decode(data, max_pixels=48 * 40).width == 48
    with pytest.raises(TooManyPixels, match="48 × 40 = 1920 pixels; at most 1919"):
        decode(data, max_pixels=48 * 40 - 1)


def progressive(scans: int) -> bytes:
    """A small progressive JPEG whose last scan comes so many times more."""
    data = body(Image.fromarray(picture()).convert("L"), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + data[-2:]


def test_a_jpeg_of_too_many_scans_is_refused() -> None:
    """Each costs a pass over every pixel, and a few bytes."""
    own = jpeg_scans(progressive(0), 1000)
    assert 1 < own < 20
    assert jpeg_scans(progressive(30), 1000) == own + 30
    assert decode(progressive(30), max_pixels=LIMIT).width == 48
    with pytest.raises(CorruptImage, match="more than 100 scans"):
        decode(progressive(101), max_pixels=LIMIT)


def test_what_follows_a_jpeg_does_not_count() -> None:
    """Phones append films, which may hold anything."""
    data = body(Image.fromarray(picture()), "JPEG")
    assert jpeg_scans(data + b"\xff\xda" * 1000, 1000) == 1
    thumbnail = b"\xff\xe1" + (2 + 2000).to_bytes(2) + b"\xff\xda" * 1000
    assert jpeg_scans(data[:2] + thumbnail + data[2:], 1000) == 1


@pytest.mark.parametrize("limit", [50_000_000, 399_999_999])
def test_a_huge_header_is_refused_at_once(limit: int) -> None:
    start = time.thread_time()
    with pytest.raises(TooManyPixels, match="20000 × 20000"):
        decode(png(20_000, 20_000, 8, 2, b""), max_pixels=limit)
    assert time.thread_time() - start < 0.2


@pytest.mark.parametrize("side", [12_000, 16_383])
def test_a_huge_webp_header_is_refused_at_once(side: int) -> None:
    size = (side - 1).to_bytes(3, "little")
    chunks = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size + size
    start = time.thread_time()
    with pytest.raises(ImageError):
        decode(b"RIFF" + struct.pack("<I", len(chunks)) + chunks, max_pixels=LIMIT)
    assert time.thread_time() - start < 0.2


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_truncated(format: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = body(Image.fromarray(noise), format)
    with pytest.raises((CorruptImage, NotAnImage)):
        decode(data[: int(len(data) * share) + 3], max_pixels=LIMIT)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Flipped, overwritten, cut out, repeated or cut off; mostly near the start, where the headers are."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = min(int(rng.expovariate(8 / len(data))), len(changed) - 1)
        match rng.randrange(6):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
            case 2:
                changed[at : at + 4] = rng.randbytes(4)
            case 3:
                del changed[at : at + rng.randint(1, 8)]
            case 4:
                changed[at:at] = changed[at : at + rng.randint(1, 16)]
            case _:
                del changed[max(1, len(changed) - rng.randint(0, 40)) :]
        if not changed:
            return b""
    return bytes(changed)


@pytest.mark.parametrize("format", FORMATS)
def test_mutated_bodies_give_an_image_or_a_documented_error(format: str) -> None:
    rng = random.Random(format)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    options = {} if format in ("GIF", "BMP") else {"exif": exif}
    rgb = Image.fromarray(picture(24, 20))
    seeds = [body(rgb, format, **options), body(rgb.convert("L"), format, **options)]
    if format == "TIFF":
        seeds += [body(rgb, format, compression=kind) for kind in ("tiff_lzw", "tiff_deflate", "jpeg")]
    if format in ("PNG", "TIFF", "JPEG"):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        seeds.append(body(rgb, format, icc_profile=profile))
    if format in ("GIF", "PNG", "WebP"):
        seeds.append(body(rgb, format, save_all=True, append_images=[rgb.rotate(90)]))
        seeds.append(body(rgb.convert("P"), format, **({} if format == "WebP" else {"transparency": 3})))
    decoded = 0
    for _ in range(400):
        try:
            result = decode(mutated(rng.choice(seeds), rng), max_pixels=LIMIT)
        except ImageError as error:
            assert error.kind and "\n" not in str(error)
        else:
            assert isinstance(result, DecodedImage)
            assert result.pixels.ndim == 3 and result.pixels.dtype == np.uint8
            decoded += 1
    assert 0 < decoded < 400
