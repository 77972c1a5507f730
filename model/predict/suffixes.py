"""The suffixes of picture files, wherever a folder of them is listed. What a file really is, its first bytes say."""

from __future__ import annotations

from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp")
)


def is_listed(path: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> bool:
    """Return whether a file of a folder is one of its pictures, by its suffix in any case.

    Hidden files are not, such as those in which macOS keeps what belongs to a picture (`._a.jpg`).
    """
    return path.suffix.lower() in suffixes and not path.name.startswith(".")
