"""What the pixels of a TIFF file are, and which of them can be read."""

from __future__ import annotations

from model.predict.headers.ifd import Ifd
from model.predict.image_errors import UnsupportedFormat

_BITS, _PHOTOMETRIC, _FILL, _SAMPLES, _EXTRA, _FORMAT, _PLANAR = 258, 262, 266, 277, 338, 339, 284
MOST_SAMPLES = 6
_BLACK_IS_ZERO, _RGB, _YCBCR = 1, 2, 6
_OLD_JPEG = 6
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_PREMULTIPLIED, _ALPHA, _CORELDRAW = 1, 2, 999


def pixel_mode(ifd: Ifd, compression: int) -> tuple[tuple[int, ...], str]:
    """Return the bits of each sample, and Pillow's mode. Raise UnsupportedFormat for pixels that it cannot read."""
    photometric = _YCBCR if compression == _OLD_JPEG else ifd.number(_PHOTOMETRIC, 0)
    extra = ifd.numbers(_EXTRA, MOST_SAMPLES)
    coloured = compression == _OLD_JPEG and photometric in (_RGB, _YCBCR)
    samples = ifd.number(_SAMPLES, 3 if coloured else 1)
    bits = ifd.numbers(_BITS, MOST_SAMPLES) or (1,)
    formats = set(ifd.numbers(_FORMAT, MOST_SAMPLES)) or {_UNSIGNED}
    if ifd.number(_PLANAR, 1) == 2 and extra and not any(extra):
        bits, samples, extra = bits[: -len(extra)], samples - len(extra), ()
    bits = bits * samples if len(bits) == 1 and samples <= MOST_SAMPLES else bits[:samples]
    mode = _mode(photometric, bits, extra) if len(bits) == samples and len(formats) == 1 else None
    if _FLOAT in formats or max(bits, default=0) > 16:
        mode = {_FLOAT: "F"}.get(max(formats), "I")
    elif mode == "I;16" and formats == {_SIGNED}:
        mode = "I"
    elif formats == {_SIGNED} and not (mode == "L" and photometric == _BLACK_IS_ZERO):
        mode = None
    if ifd.number(_FILL, 1) == 2 and mode not in ("1", "L", "P", "I;16", "RGB"):
        mode = None
    if mode is None or mode in ("F", "I", "LAB"):
        what = (
            f"of kind {mode}"
            if mode
            else f"of {samples} samples of {_said(bits)} bits, colour space {photometric},"
        )
        raise UnsupportedFormat(
            f"TIFF pixels {what} are not supported; use grey, palette, RGB or CMYK with 8 or 16 bits a channel"
        )
    return bits, "RGB" if mode == "YCbCr" and compression != 1 else mode


def _said(bits: tuple[int, ...]) -> str:
    return ", ".join(map(str, bits[:MOST_SAMPLES])) or "no"


def _mode(photometric: int, bits: tuple[int, ...], extra: tuple[int, ...]) -> str | None:
    own = bits[: len(bits) - len(extra)]
    depth = set(bits)
    if len(depth) != 1 or not own:
        return None
    # Photometric: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 Lab.
    match photometric, own, extra:
        case ((0 | 1), ((1,) | (2,) | (4,) | (8,) | (12,) | (16,)), ()):
            return {1: "1", 12: "I;16", 16: "I;16"}.get(own[0], "L")
        case 1, (8,), (kind,):
            return {0: "L", _PREMULTIPLIED: "La", _ALPHA: "LA"}.get(kind)
        case 2, ((8, 8, 8) | (16, 16, 16)), (kind, *rest) if not any(rest):
            return "RGB" if kind == 0 else "RGBA" if kind in (_PREMULTIPLIED, _ALPHA, _CORELDRAW) else None
        case 2, ((8, 8, 8) | (16, 16, 16)), ():
            return "RGB"
        case 2, ((8, 8, 8, 8) | (16, 16, 16, 16)), ():
            return "RGBA"
        case 3, ((1,) | (2,) | (4,) | (8,)), ():
            return "P"
        case 3, (8,), ((0 | 2) as kind,):
            return "PA" if kind else "P"
        case 5, ((8, 8, 8, 8) | (16, 16, 16, 16)), extra if not any(extra):
            return "CMYK"
        case 6, (8,), ():
            return "L"
        case 6, (8, 8, 8), ():
            return "YCbCr"
        case 8, (8, 8, 8), ():
            return "LAB"
    return None
