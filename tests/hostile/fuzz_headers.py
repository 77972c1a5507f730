"""`python -m tests.hostile.fuzz_headers [FOLDER] [libFuzzer's options]`: look for bytes that break the header check.

It needs atheris, which follows what branches of the check an input takes.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["model.predict.headers", "model.predict.forecast"]):
    from model.predict.forecast import forecast
    from model.predict.headers import FORMATS, Header, jpeg, png, read_header, tiff

from model.predict.image_errors import ImageError

ESSENTIAL = {"JPEG": jpeg.essential, "PNG": png.essential, "TIFF": tiff.essential}
MOST_PARTS = png.MOST_CHUNKS + png.MOST_PIXEL_CHUNKS  # the largest bound of all formats


def check(data: bytes) -> None:
    """Raise if the check does anything but return a header that makes sense, or raise ImageError."""
    try:
        header = read_header(data)
    except ImageError as error:
        assert error.kind and "\n" not in str(error) and len(str(error)) < 300
        return
    assert isinstance(header, Header) and header.format in FORMATS
    assert header.width > 0 and header.height > 0 and 1 <= header.orientation <= 8
    assert 0 <= header.parts <= MOST_PARTS
    expected = forecast(header)
    assert expected.bytes >= header.pixels and expected.seconds > 0
    if header.format in ESSENTIAL:
        # What Pillow gets is the same picture, and has nothing left to turn it.
        again = read_header(ESSENTIAL[header.format](data))
        stored = (header.height, header.width) if header.turned else (header.width, header.height)
        assert (again.width, again.height, again.orientation) == (*stored, 1)
        assert (again.mode, again.kind, again.buffer) == (header.mode, header.kind, header.buffer)
        assert again.parts <= header.parts and again.profile <= header.profile


def main() -> None:
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
