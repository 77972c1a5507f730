"""The same picture as files of every kind that takes another amount of memory or time to decode."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[np.uint8]
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def picture(height: int, width: int) -> Pixels:
    """Return an RGB picture [height, width, 3] that compresses about as a photograph does."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (max(2, height // 64), max(2, width // 64), 3), dtype=np.uint8)
    smooth = np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    smooth[::2] ^= rng.integers(0, 4, smooth[::2].shape, dtype=np.uint8)
    return smooth


def _saved(mode: str, format: str, pixels: Pixels, orientation: int = 1, **options: Any) -> bytes:
    image, file = Image.fromarray(pixels), io.BytesIO()
    if orientation > 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    (image if image.mode == mode or mode == "I;16" else image.convert(mode)).save(file, format, **options)
    return file.getvalue()


def _profile() -> bytes:
    """Return a profile with other primaries than sRGB's."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB built-in".encode("utf-16-be"), "swapped rgbs!".encode("utf-16-be"))
    return profile.replace(b"rXYZ", b"?XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"?XYZ", b"gXYZ", 1)


def _png(pixels: Pixels, *, bits: int, colour: int, interlaced: bool = False) -> bytes:
    """Return a PNG file of colour type 2 or 6, which Pillow would not write with 16 bits or interlaced."""
    if colour == 6:
        pixels = np.concatenate([pixels, pixels[..., :1]], axis=-1)
    samples = pixels if bits == 8 else (pixels.astype(">u2") * 257)
    passes = [samples[y::dy, x::dx] for y, x, dy, dx in _ADAM7] if interlaced else [samples]
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    height, width = pixels.shape[:2]

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            chunk(b"IDAT", zlib.compress(rows, 1)),
            chunk(b"IEND", b""),
        ]
    )


def _bmp_of_runs(pixels: Pixels) -> bytes:
    """Return a BMP file of 8 bits in run lengths, each of two pixels."""
    height, width = pixels.shape[0], pixels.shape[1] // 2 * 2
    grey = pixels[::-1, :width:2, 0]
    runs = np.stack([np.full_like(grey, 2), grey], axis=-1)
    body = b"".join(row.tobytes() + b"\0\0" for row in runs) + b"\0\1"
    palette = b"".join(bytes([i, 255 - i, i, 0]) for i in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + palette + body


def _animated(pixels: Pixels, format: str, **options: Any) -> bytes:
    frames, file = [Image.fromarray(pixels), Image.fromarray(255 - pixels)], io.BytesIO()
    frames[0].save(file, format, save_all=True, append_images=frames[1:], **options)
    return file.getvalue()


def _one_strip(pixels: Pixels, compression: str) -> bytes:
    return _saved("RGB", "TIFF", pixels, compression=compression, tiffinfo={278: len(pixels)})


KINDS: Mapping[str, Callable[[Pixels], bytes]] = MappingProxyType(
    {
        "JPEG 4:2:0": partial(_saved, "RGB", "JPEG", quality=90),
        "JPEG 4:4:4": partial(_saved, "RGB", "JPEG", quality=95, subsampling=0),
        "JPEG grey": partial(_saved, "L", "JPEG", quality=90),
        "JPEG CMYK": partial(_saved, "CMYK", "JPEG", quality=90),
        "JPEG half turned": partial(_saved, "RGB", "JPEG", orientation=3),
        "JPEG turned": partial(_saved, "RGB", "JPEG", orientation=6),
        "JPEG with profile": partial(_saved, "RGB", "JPEG", icc_profile=_profile()),
        "JPEG progressive": partial(_saved, "RGB", "JPEG", quality=90, progressive=True),
        "JPEG progressive 4:4:4": partial(_saved, "RGB", "JPEG", progressive=True, subsampling=0),
        "JPEG progressive grey": partial(_saved, "L", "JPEG", progressive=True),
        "PNG bits": partial(_saved, "1", "PNG", compress_level=1),
        "PNG grey": partial(_saved, "L", "PNG", compress_level=1),
        "PNG grey 16": partial(_saved, "I;16", "PNG", compress_level=1),
        "PNG grey alpha": partial(_saved, "LA", "PNG", compress_level=1),
        "PNG palette": partial(_saved, "P", "PNG", compress_level=1),
        "PNG palette transparent": partial(_saved, "P", "PNG", compress_level=1, transparency=3),
        "PNG RGB": partial(_saved, "RGB", "PNG", compress_level=1),
        "PNG RGB turned": partial(_saved, "RGB", "PNG", orientation=6, compress_level=1),
        "PNG RGB with profile": partial(_saved, "RGB", "PNG", compress_level=1, icc_profile=_profile()),
        "PNG RGB 16": partial(_png, bits=16, colour=2),
        "PNG RGB interlaced": partial(_png, bits=8, colour=2, interlaced=True),
        "PNG RGBA": partial(_saved, "RGBA", "PNG", compress_level=1),
        "PNG RGBA turned": partial(_saved, "RGBA", "PNG", orientation=7, compress_level=1),
        "PNG RGBA with profile": partial(_saved, "RGBA", "PNG", compress_level=1, icc_profile=_profile()),
        "PNG RGBA 16": partial(_png, bits=16, colour=6),
        "PNG RGBA 16 interlaced": partial(_png, bits=16, colour=6, interlaced=True),
        "WebP lossy": partial(_saved, "RGB", "WebP", method=0),
        "WebP lossy alpha": partial(_saved, "RGBA", "WebP", method=0),
        "WebP lossless": partial(_saved, "RGB", "WebP", lossless=True, method=0, quality=10),
        "WebP lossless alpha": partial(_saved, "RGBA", "WebP", lossless=True, method=0, quality=10),
        "WebP animated": partial(_animated, format="WebP", method=0),
        "GIF": partial(_saved, "P", "GIF"),
        "GIF grey": partial(_saved, "L", "GIF"),
        "GIF transparent": partial(_saved, "P", "GIF", transparency=3),
        "TIFF raw": partial(_saved, "RGB", "TIFF"),
        "TIFF raw turned": partial(_saved, "RGB", "TIFF", orientation=6),
        "TIFF raw grey 16": partial(_saved, "I;16", "TIFF"),
        "TIFF raw RGBA": partial(_saved, "RGBA", "TIFF"),
        "TIFF raw CMYK": partial(_saved, "CMYK", "TIFF"),
        "TIFF LZW": partial(_saved, "RGB", "TIFF", compression="tiff_lzw"),
        "TIFF deflate": partial(_saved, "RGB", "TIFF", compression="tiff_adobe_deflate"),
        "TIFF deflate, one strip": partial(_one_strip, compression="tiff_adobe_deflate"),
        "TIFF LZMA, one strip": partial(_one_strip, compression="lzma"),
        "TIFF Zstandard, one strip": partial(_one_strip, compression="zstd"),
        "TIFF packbits": partial(_saved, "RGB", "TIFF", compression="packbits"),
        "TIFF JPEG": partial(_saved, "RGB", "TIFF", compression="jpeg"),
        "TIFF JPEG YCbCr": partial(_saved, "YCbCr", "TIFF", compression="jpeg"),
        "TIFF LZW YCbCr": partial(_saved, "YCbCr", "TIFF", compression="tiff_lzw"),
        "TIFF fax": partial(_saved, "1", "TIFF", compression="group4"),
        "BMP": partial(_saved, "RGB", "BMP"),
        "BMP palette": partial(_saved, "P", "BMP"),
        "BMP 32": partial(_saved, "RGBA", "BMP"),
        "BMP run lengths": _bmp_of_runs,
    }
)
