"""BMP: one header of fixed fields."""

from __future__ import annotations

import struct

from model.predict.headers.header import Bytes, Header
from model.predict.image_errors import CorruptImage, UnsupportedFormat

_OLD, _SIZES = 12, (40, 52, 56, 64, 108, 124)
_RAW, _RLE8, _RLE4, _BITFIELDS = 0, 1, 2, 3
_MODES = {1: "P", 4: "P", 8: "P", 16: "RGB", 24: "RGB", 32: "RGB"}


def read(data: Bytes) -> Header:
    """Return the header. Raise CorruptImage, UnsupportedFormat or struct.error."""
    (size,) = struct.unpack_from("<I", data, 14)
    if size == _OLD:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = _RAW
    elif size in _SIZES:
        width, height, _, bits, compression = struct.unpack_from("<IiHHI", data, 18)
        height = abs(height)
    else:
        raise CorruptImage("the header of the BMP image is damaged; use the complete file")
    if width >= 2**31 or height >= 2**31:
        raise CorruptImage(
            "the header of the BMP image is damaged: its size is impossible; use the complete file"
        )
    rle = {_RLE8: 8, _RLE4: 4}
    if (
        bits not in _MODES
        or compression not in (_RAW, _BITFIELDS, *rle)
        or rle.get(compression, bits) != bits
    ):
        raise UnsupportedFormat(
            f"BMP images of {bits} bits with compression {compression} are not supported; "
            "use 1 to 32 bits, raw or run lengths"
        )
    (alpha,) = struct.unpack_from("<I", data, 66) if size >= 56 and compression == _BITFIELDS else (0,)
    return Header(
        "BMP",
        width,
        height,
        "run lengths" if compression in rle else "raw",
        "RGBA" if alpha and bits == 32 else _MODES[bits],
        len(data),
        transparent=bool(alpha) and bits == 32,
        buffer=2 * width * height if compression in rle else 0,
        samples=width * height * max(8, bits) // 8,
    )
