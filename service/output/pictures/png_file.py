"""A PNG file that is written in parts, so that the whole picture is never in memory."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from numpy.typing import NDArray

_EIGHT_BITS = 8  # of a channel, or of an index
GREY, PALETTE, RGBA = 0, 3, 6  # colour types
NO_FILTER, AVERAGE = 0, 3  # what a line may begin with


class PngFile:
    """A file to which lines of pixels are added from top to bottom."""

    def __init__(
        self, width: int, height: int, colour_type: int, level: int, strategy: int = zlib.Z_DEFAULT_STRATEGY
    ) -> None:
        """`level` and `strategy` are those of zlib."""
        self._file = io.BytesIO()
        self._file.write(b"\x89PNG\r\n\x1a\n")
        self._packer = zlib.compressobj(level, strategy=strategy)
        self.chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, _EIGHT_BITS, colour_type, 0, 0, 0))

    def chunk(self, kind: bytes, content: bytes) -> None:
        """Add a chunk. Those that are not pixels come before the first lines."""
        self._file.write(struct.pack(">I", len(content)))
        self._file.write(kind)
        self._file.write(content)
        self._file.write(struct.pack(">I", zlib.crc32(kind + content)))

    def add(self, lines: NDArray[Any]) -> None:
        """Add lines of bytes [n, …], each of which begins with its filter."""
        self._pixels(self._packer.compress(lines.data))

    def finished(self) -> bytes:
        """Return the whole file. Nothing may be added afterwards."""
        self._pixels(self._packer.flush())
        self.chunk(b"IEND", b"")
        return self._file.getvalue()

    def _pixels(self, packed: bytes) -> None:
        if packed:
            self.chunk(b"IDAT", packed)
