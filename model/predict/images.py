"""Decode untrusted bytes to RGB pixels as displayed. The service, training and evaluation read images with this alone.

Every failure is one of these errors:

ImageError
├── EmptyBody          there are no bytes
├── NotAnImage         no image format starts like this
├── CorruptImage       the format is allowed, but the file is truncated or damaged
├── SlowImage          decoding takes too long
├── TooManyPixels      the header says so, before anything is decoded
└── UnsupportedFormat  an image of a format or kind of pixels that is not allowed

Nothing global of Pillow is read or set, so any number of threads may decode. That is why Pillow's format classes are
used directly: `Image.open` compares every image with the process-wide MAX_IMAGE_PIXELS.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

ALLOWED = "JPEG, PNG, WebP, GIF, TIFF or BMP"


class ImageError(Exception):
    """An image that cannot be used. The message is one line for whoever sent it; `kind` names the problem."""

    kind: ClassVar[str]


class EmptyBody(ImageError):
    kind = "empty-body"


class NotAnImage(ImageError):
    kind = "not-an-image"


class CorruptImage(ImageError):
    kind = "corrupt-image"


class SlowImage(ImageError):
    kind = "slow-image"


class TooManyPixels(ImageError):
    kind = "too-many-pixels"


class UnsupportedFormat(ImageError):
    kind = "unsupported-format"


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """An image as displayed."""

    pixels: NDArray[np.uint8]  # [H, W, 3] RGB, contiguous and writable
    format: str  # one of ALLOWED

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
    name, reader = image_reader(data)
    if name == "JPEG" and jpeg_scans(data, MOST_SCANS) > MOST_SCANS:
        raise CorruptImage(f"the JPEG image has more than {MOST_SCANS} scans; save it again")
    try:
        with reader(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise TooManyPixels(
                    f"the image has {width} × {height} = {width * height} pixels; "
                    f"at most {max_pixels} are allowed"
                )
            image.load()
            upright = _upright(_rgb(image), orientation(image))
            return DecodedImage(np.array(upright), name)
    except ImageError:
        raise
    except (MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels(
            f"the {name} image is too large to decode; at most {max_pixels} pixels are allowed"
        ) from error
    except Exception as error:  # Pillow raises nearly anything for a damaged file
        raise CorruptImage(
            f"the {name} image is truncated or damaged and cannot be decoded; send the complete file"
        ) from error


# Encoders write about 10 scans. Each scan visits every pixel again, and may be only 20 bytes long.
MOST_SCANS = 100
# A marker of JPEG. Within a scan, 0xff is followed by one of the bytes that are excluded here.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_SOS, _EOI = 0xDA, 0xD9


def jpeg_scans(data: bytes, most: int) -> int:
    """Return the number of scans of a JPEG file. Counting ends above `most`, and at the end of the picture."""
    scans, position = 0, 2
    while scans <= most and (found := _MARKER.search(data, position)):
        position = found.end()
        marker = data[position - 1]
        if marker == _EOI:
            break
        scans += marker == _SOS
        position += int.from_bytes(
            data[position : position + 2]
        )  # the segment's length, which includes itself
    return scans


_READERS: tuple[tuple[re.Pattern[bytes], str, type[ImageFile.ImageFile]], ...] = (
    (re.compile(rb"\xff\xd8\xff"), "JPEG", JpegImagePlugin.JpegImageFile),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG", PngImagePlugin.PngImageFile),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WebP", WebPImagePlugin.WebPImageFile),
    (re.compile(rb"GIF8[79]a"), "GIF", GifImagePlugin.GifImageFile),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "TIFF", TiffImagePlugin.TiffImageFile),
    (re.compile(rb"BM"), "BMP", BmpImagePlugin.BmpImageFile),
)

_REFUSED = (
    (re.compile(rb"....ftyp(avif|avis)", re.DOTALL), "AVIF"),
    (re.compile(rb"....ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL), "HEIF"),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "JPEG 2000"),
    (re.compile(rb"\0\0\0\x0cJXL |\xff\x0a"), "JPEG XL"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"\0\0[\1\2]\0"), "icon"),
    (re.compile(rb"P[1-7]\s"), "Netpbm"),
    (re.compile(rb"qoif"), "QOI"),
    (re.compile(rb"%PDF-|%!PS"), "PDF or PostScript"),
    (re.compile(rb"\s*(<\?xml.{0,500})?<svg\b", re.DOTALL), "SVG"),
)


def image_reader(data: bytes) -> tuple[str, type[ImageFile.ImageFile]]:
    """Return the format's name and Pillow's class for it, by the file's first bytes. Raises `ImageError`."""
    if not data:
        raise EmptyBody(f"the body is empty; send a {ALLOWED} image")
    for signature, name, reader in _READERS:
        if signature.match(data):
            return name, reader
    for signature, name in _REFUSED:
        if signature.match(data):
            raise UnsupportedFormat(f"{name} images are not supported; send a {ALLOWED} image")
    raise NotAnImage(f"the body is not an image; send a {ALLOWED} image")


# Pillow's modes, with the colour space that an embedded profile of such an image describes.
_SPACES = (
    dict.fromkeys(("1", "L", "LA", "La"), "L")
    | dict.fromkeys(("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"), "RGB")
    | {"CMYK": "CMYK"}
)


def _rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):  # Pillow's own conversion clips instead of scaling
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode not in _SPACES:
        raise UnsupportedFormat(
            f"pixels of kind {image.mode} are not supported; "
            "send grey, palette, RGB or CMYK with 8 or 16 bits a channel"
        )
    space, alpha = _SPACES[image.mode], None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    rgb = _in_srgb(_converted(image, space), profile)
    if alpha is None:
        return rgb
    white = Image.new("RGB", rgb.size, "white")
    white.paste(rgb, mask=alpha)
    return white


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if ImageCms.getProfileDescription(source).strip() not in _ALREADY_SRGB:
                target = ImageCms.createProfile("sRGB")
                return ImageCms.profileToProfile(image, source, target, outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            pass  # The profile is broken or of another colour space. The picture is not.
    return _converted(image, "RGB")


# The most common profiles. Converting from them would change nothing.
_ALREADY_SRGB = ("sRGB IEC61966-2.1", "sRGB built-in")


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> object:
    """Return the EXIF orientation of a loaded image, or 1 if there is none or it is broken.

    A TIFF is upright once it is loaded.
    """
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, EOFError, LookupError, OSError, TypeError, ValueError, struct.error, Warning):
        return 1


def _upright(image: Image.Image, orientation: object) -> Image.Image:
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)
