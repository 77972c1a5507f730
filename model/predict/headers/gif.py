"""GIF: blocks up to the first frame."""

from __future__ import annotations

import struct

from model.predict.headers.header import Bytes, Header
from model.predict.image_errors import CorruptImage

MOST_BLOCKS = 20_000  # of at most 255 bytes, of all extensions before the first frame
_EXTENSION, _FRAME, _CONTROL = 0x21, 0x2C, 0xF9


def read(data: Bytes) -> Header:
    """Return the header. Raise CorruptImage or struct.error.

    A frame that sticks out of the screen enlarges it.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    palette = bool(flags & 0x80)
    at, transparent, blocks = 13 + (3 << (flags & 7) + 1 if palette else 0), False, 0
    while blocks <= MOST_BLOCKS:
        kind = data[at]
        if kind == _FRAME:
            x, y, across, down, flags = struct.unpack_from("<HHHHB", data, at + 1)
            return Header(
                "GIF",
                max(width, x + across),
                max(height, y + down),
                "interlaced" if flags & 0x40 else "palette",
                "P" if palette or flags & 0x80 else "L",
                len(data),
                transparent=transparent,
                samples=max(width, x + across) * max(height, y + down),
                parts=blocks,
            )
        if kind == 0x3B:  # the end
            break
        if kind != _EXTENSION:
            at, blocks = at + 1, blocks + 1
            continue
        label, length = data[at + 1], data[at + 2]
        if label == _CONTROL and length >= 4:
            transparent = transparent or bool(data[at + 3] & 1)
        at, blocks = _behind_blocks(data, at + 2, blocks)
    else:
        raise CorruptImage(
            f"the GIF image has more than {MOST_BLOCKS} blocks before its picture; save it again"
        )
    raise CorruptImage("the GIF image has no picture; use the complete file")


def _behind_blocks(data: Bytes, at: int, blocks: int) -> tuple[int, int]:
    """Return the position behind a list of blocks, or behind MOST_BLOCKS, and `blocks` plus their number."""
    while blocks <= MOST_BLOCKS:
        length = data[at]
        at, blocks = at + 1 + length, blocks + 1
        if not length:
            break
    return at, blocks
