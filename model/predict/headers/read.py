"""`read_header`: what an image is, by its first bytes."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Collection

from model.predict.headers import bmp, gif, jpeg, png, tiff, webp
from model.predict.headers.header import FORMATS, Bytes, Header, displayed
from model.predict.image_errors import CorruptImage, EmptyBody, NotAnImage, UnsupportedFormat

_ALLOWED: tuple[tuple[re.Pattern[bytes], str, Callable[[Bytes], Header]], ...] = (
    (re.compile(rb"\xff\xd8\xff"), "JPEG", jpeg.read),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG", png.read),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WebP", webp.read),
    (re.compile(rb"GIF8[79]a"), "GIF", gif.read),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "TIFF", tiff.read),
    (re.compile(rb"BM"), "BMP", bmp.read),
)

_REFUSED = (
    (re.compile(rb"....ftyp(avif|avis)", re.DOTALL), "AVIF"),
    (re.compile(rb"....ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL), "HEIF"),
    (re.compile(rb"....ftypcrx |IIRO|IIRS|MMOR|IIU\0|FUJIFILMCCD-RAW|FOVb", re.DOTALL), "raw camera"),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "JPEG 2000"),
    (re.compile(rb"\0\0\0\x0cJXL |\xff\x0a"), "JPEG XL"),
    (re.compile(rb"II\xbc"), "JPEG XR"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"\0\0[\1\2]\0"), "icon"),
    (re.compile(rb"P[1-7]\s"), "Netpbm"),
    (re.compile(rb"qoif"), "QOI"),
    (re.compile(rb"%PDF-|%!PS"), "PDF or PostScript"),
    (re.compile(rb"\s{0,500}(<\?xml.{0,500})?<svg\b", re.DOTALL), "SVG"),
)


def read_header(data: Bytes, formats: Collection[str] = FORMATS) -> Header:
    """Return the header of an image that has one of the `formats`.

    Raise `ImageError`: CorruptImage for a damaged header, UnsupportedFormat for a format that is not among `formats`,
    or that the decoder cannot read.
    """
    allowed = _listed(formats)
    if not len(data):
        raise EmptyBody(f"the image has no bytes; use a {allowed} image")
    for signature, name, read in _ALLOWED:
        if signature.match(data):
            if name not in formats:
                raise UnsupportedFormat(f"{name} images are not supported here; use a {allowed} image")
            return displayed(_checked(name, read, data))
    for signature, name in _REFUSED:
        if signature.match(data):
            raise UnsupportedFormat(f"{name} images are not supported; use a {allowed} image")
    raise NotAnImage(f"the content is not an image; use a {allowed} image")


def _checked(name: str, read: Callable[[Bytes], Header], data: Bytes) -> Header:
    try:
        header = read(data)
    except (struct.error, IndexError) as error:  # a field lies beyond the end
        raise CorruptImage(f"the header of the {name} image is truncated; use the complete file") from error
    if header.width < 1 or header.height < 1:
        raise CorruptImage(f"the header of the {name} image is damaged: it has no pixels; use a whole image")
    return header


def _listed(formats: Collection[str]) -> str:
    names = [name for name in FORMATS if name in formats]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
