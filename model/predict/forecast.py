"""What decoding an image and resizing it to the network's input takes, from its header alone.

The numbers are measured by `python -m bench.speed.decoding`, which compares them with what decoding takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from model.predict.headers import Header
from model.predict.headers.jpeg import WITHOUT_END

_PIXEL = MappingProxyType({"1": 1, "L": 1, "P": 1, "I;16": 2})  # bytes in Pillow's memory; other modes have 4
_FIXED = 6_000_000  # bytes: bands of rows, code and tables that are read when they are first used
_MARGIN = 1.02
_CODECS = MappingProxyType({"lzma": 10_000_000, "zstd": 8_000_000})  # bytes of dictionaries and windows
_COPIED = ("JPEG", "PNG", "TIFF", "WebP")  # formats whose file is in memory twice while it is decoded
LARGEST_INPUT = (1333, 1333)

# Seconds for a sample, by format, and by kind where that matters.
_SAMPLE = MappingProxyType(
    {
        "JPEG": 2.5e-9,
        "PNG": 7e-9,
        "WebP": 16e-9,
        "WebP lossless": 30e-9,
        "GIF": 9e-9,
        "TIFF": 1.5e-9,
        "TIFF lzw": 5e-9,
        "TIFF deflate": 5.5e-9,
        "TIFF lzma": 32e-9,
        "TIFF zstd": 2.5e-9,
        "TIFF fax": 60e-9,
        "TIFF jpeg": 2.2e-9,
        "BMP": 1e-9,
        "BMP run lengths": 30e-9,
    }
)
_BYTE = MappingProxyType(
    {"JPEG": 15e-9, "BMP run lengths": 170e-9}
)  # seconds for a byte of the file, if it matters
_PASS = 0.25e-9  # seconds for a sample in one pass more
_RESIZED, _GREY_RESIZED, _CONVERTED, _CMYK_CONVERTED = 5e-9, 2e-9, 3e-9, 6e-9  # seconds for a pixel
_TRANSPARENT, _PROFILE, _FLIPPED, _TURNED = 15e-9, 20e-9, 2e-9, 10e-9
_PART = 5e-6  # seconds for a strip, tile, chunk or block
_START = 0.003  # seconds
_TRIALS = 6  # decodings of a JPEG without an end, until it is known whether its pixels are complete


@dataclass(frozen=True)
class Forecast:
    bytes: int  # at most, above those of the idle process; the file is among them
    seconds: float  # of CPU, usually


def forecast(header: Header, size: tuple[int, int] = LARGEST_INPUT) -> Forecast:
    """Return what `decode_resized` takes to read an image and to resize it to `size` = (height, width), or less."""
    return Forecast(_bytes(header, size), _seconds(header))


def _grey(header: Header) -> bool:
    """Whether the picture is resized as one channel."""
    return header.mode in ("1", "L", "I;16") and not (header.profile or header.transparent)


def _bytes(header: Header, size: tuple[int, int]) -> int:
    """Return the most that is in memory in one of four stages: reading, converting, resizing, handing over."""
    pixel, shown = _PIXEL.get(header.mode, 4), 1 if _grey(header) else 4
    copies = 3 if header.kind.endswith(WITHOUT_END) else 2 if header.format in _COPIED else 1
    codec = _CODECS.get(header.kind.partition(",")[0], 0)
    reading = pixel * header.pixels + header.buffer + copies * header.size + codec
    in_place = header.mode in ("RGB", "RGBA", "L")
    converting = (pixel + (0 if in_place and shown == pixel else shown)) * header.pixels + header.size
    # Rows may be resized first. Pictures with alpha and turned ones are resized channel by channel.
    half = min(size[1], header.width * max(1, size[0] / header.height)) * header.height
    resized = size[0] * size[1]
    if header.turned or header.mode == "RGBA":
        channel = (1 + header.turned) * header.pixels + half
        resizing = shown * header.pixels + max(channel, 4 * resized) + 3 * resized + header.size
    else:
        resizing = shown * (header.pixels + half + resized) + header.size
    handing = 11 * resized + header.size
    return int(_MARGIN * max(reading, converting, resizing, handing)) + _FIXED


def _seconds(header: Header) -> float:
    names = f"{header.format} {header.kind.partition(',')[0]}", header.format
    sample = next(_SAMPLE[name] for name in names if name in _SAMPLE)
    byte = next((_BYTE[name] for name in names if name in _BYTE), 0.0)
    decoding = header.samples * (sample + _PASS * (header.passes - 1)) + header.size * byte
    if header.kind.endswith(WITHOUT_END):
        decoding *= _TRIALS
    pixel = _GREY_RESIZED if _grey(header) else _RESIZED
    if header.mode not in ("RGB", "RGBA", "L"):
        pixel += _CMYK_CONVERTED if header.mode == "CMYK" else _CONVERTED
    pixel += _TRANSPARENT * header.transparent + _PROFILE * header.profile
    pixel += _TURNED if header.turned else _FLIPPED if header.orientation > 1 else 0
    return _START + decoding + pixel * header.pixels + _PART * header.parts
