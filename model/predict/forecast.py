"""What decoding an image and resizing it to the network's input takes, from its header alone."""

from __future__ import annotations

from dataclasses import dataclass

from model.predict.headers import Header

_CHANNELS = {"1": 1, "L": 1, "P": 1, "I;16": 2}  # bytes a pixel in Pillow's memory; all other modes have 4
_FIXED = 24_000_000  # bands, the resized picture, code that is read when it is first used
# Seconds a pixel by format and kind: measured by `python -m bench.speed.decoding`
_SECONDS = {"JPEG": 12e-9, "PNG": 25e-9, "WebP": 40e-9, "GIF": 20e-9, "TIFF": 20e-9, "BMP": 8e-9}


@dataclass(frozen=True)
class Forecast:
    bytes: int  # at most, above those of the idle process
    seconds: float  # of CPU, usually


def forecast(header: Header) -> Forecast:
    """Return what `decode_resized` takes."""
    pixel = _CHANNELS.get(header.mode, 4)
    target = 0 if header.mode in ("RGB", "RGBA") else 4
    if header.mode in ("1", "L", "I;16") and not (header.profile or header.transparent):
        target = 0 if header.mode == "L" else 1
    decoding = pixel * header.pixels + header.buffer
    converting = (pixel + target) * header.pixels
    seconds = header.pixels * _SECONDS[header.format] * header.passes**0.5
    return Forecast(max(decoding, converting) + 2 * header.size + _FIXED, seconds)
