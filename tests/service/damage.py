"""Images, damaged in the ways in which files get damaged, and in some in which only an attacker would."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def seeds() -> list[bytes]:
    """A small picture in each format, in several modes and with options that change the file's structure."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (40, 56, 3), np.uint8))
    smooth = noise.resize((4, 4)).resize((56, 40), Image.Resampling.BICUBIC)
    alpha = smooth.copy()
    alpha.putalpha(120)
    files = [_saved(smooth, name) for name in FORMATS]
    files += [_saved(smooth.convert("CMYK"), "JPEG"), _saved(smooth, "JPEG", progressive=True)]
    files += [_saved(smooth.quantize(16), name) for name in ("PNG", "GIF", "TIFF", "BMP")]
    files += [_saved(alpha, name) for name in ("PNG", "WEBP", "TIFF")]
    files += [_saved(smooth, "WEBP", lossless=True), _saved(smooth, "TIFF", compression="tiff_lzw")]
    files += [_saved(smooth, name, save_all=True, append_images=[noise]) for name in ("GIF", "WEBP", "TIFF")]
    exif = Image.Exif()
    exif[0x0112] = 6
    return [*files, _saved(smooth, "JPEG", exif=exif.tobytes())]


def damaged(count: int, seed: int = 0) -> Iterator[bytes]:
    """Mutations of the seeds, the same for a seed."""
    rng, files = np.random.default_rng(seed), seeds()
    for _ in range(count):
        data = bytearray(files[rng.integers(len(files))])
        for _ in range(rng.integers(1, 5)):
            data = _mutated(data, files, rng)
        yield bytes(data)


def _mutated(data: bytearray, files: list[bytes], rng: np.random.Generator) -> bytearray:
    if len(data) < 12:
        return data
    # Half of the damage goes to the first bytes, where sizes and counts are.
    limit = len(data) if rng.random() < 0.5 else min(len(data), 120)
    at = int(rng.integers(limit - 4))
    match rng.integers(7):
        case 0:
            data[at] ^= 1 << rng.integers(8)
        case 1:
            data[at] = rng.integers(256)
        case 2:
            width = int(rng.choice([1, 2, 4]))
            value = int(rng.choice(_INTERESTING)) % (1 << 8 * width)
            data[at : at + width] = value.to_bytes(width, rng.choice(["big", "little"]))
        case 3:
            del data[at:]
        case 4:
            del data[at : at + int(rng.integers(1, 64))]
        case 5:
            end = at + int(rng.integers(1, 64))
            data[at:at] = data[at:end] * int(rng.integers(1, 4))
        case _:
            other = files[rng.integers(len(files))]
            data[at:] = other[min(at, len(other)) :]
    return data


def _saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
