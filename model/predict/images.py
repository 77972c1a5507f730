"""Decode untrusted bytes to RGB pixels as displayed. The service, training and evaluation read images with this alone.

Every failure is one of `model/predict/image_errors.py`. What is decoded, and that it is not too large, is known from
the header (`model/predict/headers`) before Pillow sees the file. Everything that the picture does not depend on is
removed from JPEG, PNG and TIFF files before.

Nothing global of Pillow is read or set, so any number of threads may decode. That is why Pillow's format classes are
used directly: `Image.open` compares every image with the process-wide MAX_IMAGE_PIXELS.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.Image import Resampling

from model.predict.colours import displayed_colours
from model.predict.headers import Header, jpeg, png, read_header, tiff
from model.predict.image_errors import CorruptImage, ImageError, TooManyPixels, TooMuchMemory
from model.predict.upright import bands, flip, turned

_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
_ESSENTIAL: dict[str, Callable[[bytes], bytes]] = {
    "JPEG": jpeg.essential,
    "PNG": png.essential,
    "TIFF": tiff.essential,
}


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """An image as displayed."""

    pixels: NDArray[np.uint8]  # [H, W, 3] RGB, contiguous and writable
    format: str  # one of FORMATS

    @property
    def height(self) -> int:
        return len(self.pixels)

    @property
    def width(self) -> int:
        return len(self.pixels[0])


def decode(data: bytes, *, max_pixels: int) -> DecodedImage:
    """Return the first picture in `data` as it is displayed.

    The EXIF orientation is applied, colours are converted from the embedded profile to sRGB, transparent pixels are put
    on white, and 16-bit channels keep their higher byte. Raise `ImageError` if that is not possible.
    """
    header = read_header(data)
    check_pixels(header, max_pixels)
    with _failures(header):
        return DecodedImage(_rgb(turned(_picture(data, header), header.orientation)), header.format)


def check_pixels(header: Header, most: int) -> None:
    """Raise TooManyPixels if an image has more than `most` pixels."""
    if header.pixels > most:
        raise TooManyPixels(
            f"the image has {header.width} × {header.height} = {header.pixels} pixels; at most {most} are allowed"
        )


def decode_resized(data: bytes, header: Header, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the pixels [h, w, 3] of `decode`, resized to `size` = (h, w) as `model.predict.resize.resize` would.

    Only one picture is in memory at a time, beside what the format's decoder needs, and channels of one that is turned
    (`model/predict/forecast.py`). Raise ImageError.
    """
    height, width = size
    with _failures(header):
        return _rgb(_resized(_picture(data, header), header, (width, height)))


def decode_reduced(data: bytes, header: Header, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return nearly the pixels of `decode_resized`, in half the time for a JPEG that is at least twice as large.

    It is decoded at a half, a quarter or an eighth of its size, whose pixels are means of its own, and then resized.
    """
    height, width = size
    with _failures(header):
        return _rgb(_resized(_picture(data, header, least=(width, height)), header, (width, height)))


def _rgb(picture: Image.Image) -> NDArray[np.uint8]:
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _resized(picture: Image.Image, header: Header, size: tuple[int, int]) -> Image.Image:
    """Return a picture as displayed at `size` = (width, height)."""
    # One channel after the other: a turned picture would be a second one, and Pillow would resize one with alpha as a
    # copy that is multiplied by it.
    if picture.mode == "RGBA" or (header.turned and picture.mode == "RGB"):
        return Image.merge("RGB", [_resized(picture.getchannel(name), header, size) for name in "RGB"])
    picture = turned(picture, header.orientation)
    return picture if picture.size == size else picture.resize(size, Resampling.BILINEAR)


@contextmanager
def _failures(header: Header) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise TooMuchMemory(
            f"the {header.format} image of {header.width} × {header.height} pixels takes too much memory to decode; "
            "use a smaller one"
        ) from error
    except Exception as error:  # Pillow raises nearly anything for a damaged file
        raise CorruptImage(
            f"the {header.format} image is truncated or damaged and cannot be decoded; use the complete file"
        ) from error


def _picture(data: bytes, header: Header, least: tuple[int, int] | None = None) -> Image.Image:
    """Return the picture, opaque, in mode RGB, RGBA or L. It is upright unless the header says that it is turned.

    A JPEG may be smaller than it is stored, but not than `least` = (width, height) as displayed.
    """
    picture = displayed_colours(_loaded(_essential(data, header), header, least))
    flip(picture, header.orientation)
    return picture


def _essential(data: bytes, header: Header) -> bytes:
    """Return the file as Pillow gets it. Raise CorruptImage for a JPEG whose pixels are not complete."""
    essential = _ESSENTIAL.get(header.format)
    file = essential(data) if essential else data
    return _with_end(file, header) if header.kind.endswith(jpeg.WITHOUT_END) else file


def _loaded(file: bytes, header: Header, least: tuple[int, int] | None = None) -> Image.Image:
    stream = io.BytesIO(file)
    del file  # Pillow keeps the stream, whose content need not stay
    image = _READERS[header.format](stream)
    stored = (header.height, header.width) if header.turned else (header.width, header.height)
    if image.size != stored:
        raise CorruptImage(
            f"the header of the {header.format} image contradicts itself; use the complete file"
        )
    if least is not None:
        image.draft(None, least[::-1] if header.turned else least)  # only JPEG has this
    image.load()
    stream.truncate(0)
    return image


# libjpeg fills up what is missing. If these bytes are taken for pixels, too, then pixels are missing.
_NO_PIXELS = (b"", bytes(range(1, 255)) * 8, bytes(range(0x9A, 1, -1)) * 8, b"\x66\xd3\x2b" * 300)
_END = b"\xff\xd9"


def _with_end(file: bytes, header: Header) -> bytes:
    """Return a JPEG file with the end marker that it lacks. Raise CorruptImage if it lacks pixels, too."""
    rests = (*_NO_PIXELS, jpeg.next_restart(file) + _NO_PIXELS[1])
    seen = {_checksum(_loaded(file + rest + _END, header)) for rest in rests}
    if len(seen) > 1:
        raise CorruptImage("the JPEG image is truncated; use the complete file")
    return file + _END


def _checksum(image: Image.Image) -> int:
    value = 0
    for top, bottom in bands(image):
        value = zlib.crc32(image.crop((0, top, image.width, bottom)).tobytes(), value)
    return value
