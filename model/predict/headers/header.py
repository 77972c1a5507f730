"""What a header says of an image: enough to display it, and to foresee what decoding takes."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, replace

Bytes = bytes | mmap.mmap  # a file's content, in memory or mapped
FORMATS = ("JPEG", "PNG", "WebP", "GIF", "TIFF", "BMP")


@dataclass(frozen=True)
class Header:
    """One image: the first picture of its file."""

    format: str  # one of FORMATS
    width: int  # pixels, as displayed
    height: int
    kind: str  # how the format stores the pixels, as far as decoding costs depend on it
    mode: str  # Pillow's mode of the decoded picture
    size: int  # bytes of the file
    orientation: int = 1  # EXIF's, 1 to 8
    transparent: bool = False  # whether pixels are laid on white
    profile: bool = False  # whether colours are converted from an embedded profile
    buffer: int = 0  # bytes that the decoder keeps while it fills the picture
    samples: int = 0  # numbers that the decoder produces, of all channels; 16 bits count twice
    passes: int = 1  # how often it goes through them
    parts: int = 0  # strips, tiles, chunks or blocks that it handles one by one

    @property
    def turned(self) -> bool:
        """Whether the file has width and height the other way round."""
        return self.orientation >= 5

    @property
    def pixels(self) -> int:
        return self.width * self.height


def displayed(header: Header) -> Header:
    """Return a header with the file's own width and height as one with those that are displayed."""
    if not header.turned:
        return header
    return replace(header, width=header.height, height=header.width)
