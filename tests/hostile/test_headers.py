"""Whatever the bytes, the header check returns a header or a documented error, after a bounded number of steps."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from PIL import Image

from bench.speed.picture_kinds import KINDS, picture
from model.predict.forecast import forecast
from model.predict.headers import read_header
from model.predict.image_errors import CorruptImage, ImageError
from model.predict.images import decode
from tests.paths import ROOT

SMALL = picture(20, 24)
MOST_STEPS = 1_000_000  # lines of Python that one check may run: about a second


def steps(work: Callable[[], object]) -> int:
    """Return how many lines of Python a call runs. Raise AssertionError as soon as they are too many."""
    count = 0

    def line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        assert count <= MOST_STEPS
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        work()
    except ImageError:
        pass
    finally:
        sys.settrace(before)
    return count


def saved(format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(SMALL).save(file, format, **options)
    return file.getvalue()


def tiff(*entries: tuple[int, int, int, int], width: int = 4, height: int = 4, rows: int = 4) -> bytes:
    """Return a grey TIFF with entries (tag, type, count, value) more or others."""
    tags = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    tags |= {273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, rows), 279: (4, 1, 16)}
    tags |= {tag: rest for tag, *rest in entries}  # type: ignore[misc]
    table = b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 24) + bytes(16) + struct.pack("<H", len(tags)) + table + bytes(4)


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png_with(chunks: bytes) -> bytes:
    data = saved("PNG")
    return data[:33] + chunks + data[33:]


def jpeg_with(segments: bytes) -> bytes:
    data = saved("JPEG")
    return data[:2] + segments + data[2:]


EXIF_OF_MANY_ENTRIES = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 1, 3, 1, 1) * 5000
BOMBS: dict[str, Callable[[], bytes]] = {
    "strip offsets by the million": lambda: tiff((273, 1, 5_000_000, 300)) + bytes(5_000_400),
    "strip counts by the million": lambda: tiff((279, 3, 2_000_000, 300)) + bytes(5_000_400),
    "strips of a row": lambda: (
        tiff((273, 4, 1_000_000, 300), (279, 4, 1_000_000, 300), height=1_000_000, rows=1) + bytes(4_000_000)
    ),
    "tiles of a pixel": lambda: tiff(
        (322, 3, 1, 1), (323, 3, 1, 1), (324, 3, 1000, 0), width=9**6, height=9**6
    ),
    "entries": lambda: b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 1, 3, 1, 1) * 65535,
    "entries of a big TIFF": lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60) + bytes(3_000_000),
    "values of another directory": lambda: (
        tiff((34665, 4, 1, 160)) + b"\1\0" + struct.pack("<HHII", 37500, 3, 2_000_000, 8) + bytes(4_000_000)
    ),
    "chunks": lambda: png_with(chunk(b"abCd", b"") * 400_000),
    "pixels in empty chunks": lambda: saved("PNG")[:33] + chunk(b"IDAT", b"") * 400_000,
    "texts that inflate": lambda: png_with(
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\n" * 10**7)) * 500
    ),
    "orientations": lambda: png_with(chunk(b"eXIf", EXIF_OF_MANY_ENTRIES) * 100),
    "a prefix again and again": lambda: png_with(chunk(b"eXIf", b"Exif\0\0" * 800_000)),
    "segments": lambda: jpeg_with(b"\xff\xfe\0\2" * 1_000_000),
    "fill bytes": lambda: jpeg_with(b"\xff" * 5_000_000),
    "lone markers": lambda: jpeg_with(b"\xff\x01" * 2_000_000),
    "EXIF segments": lambda: jpeg_with(
        (b"\xff\xe1" + struct.pack(">H", 2 + len(EXIF_OF_MANY_ENTRIES)) + EXIF_OF_MANY_ENTRIES) * 80
    ),
    "scans": lambda: saved("JPEG", progressive=True)[:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 500_000,
    "XMP without an end": lambda: jpeg_with(
        b"\xff\xe1\xff\xf0http://ns.adobe.com/xap/1.0/\0" + (b"tiff:Orientation=         " * 3000)[:65505]
    ),
    "blocks": lambda: saved("GIF")[:13] + b"\x21\xfe" + b"\1x" * 2_000_000,
    "extensions": lambda: saved("GIF")[:13] + b"\x21\xfe\0" * 1_000_000,
    "bytes before a frame": lambda: b"GIF89a\1\0\1\0\0\0\0" + b"\1" * 5_000_000,
    "WebP chunks": lambda: b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(10) + b"abcd\0\0\0\0" * 600_000,
    "a declaration without a picture": lambda: b"<?xml" + b" " * 5_000_000,
    "spaces": lambda: b" " * 5_000_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_costs_few_steps(bomb: str) -> None:
    data = BOMBS[bomb]()
    assert steps(lambda: read_header(data)) < MOST_STEPS


@pytest.mark.parametrize(
    "bomb", ["strip offsets by the million", "strip counts by the million", "values of another directory"]
)
def test_pillow_does_not_see_the_bomb(bomb: str) -> None:
    """Pillow would build an object for each of the values, before it looks at the picture's size."""
    data = BOMBS[bomb]()
    assert steps(lambda: decode(data, max_pixels=100)) < 10_000
    assert decode(data, max_pixels=100).pixels.shape == (4, 4, 3)


def test_strips_and_chunks_are_bounded() -> None:
    with pytest.raises(CorruptImage, match="more than 100000 strips"):
        read_header(BOMBS["strips of a row"]())
    with pytest.raises(CorruptImage, match="more than 50000 chunks"):
        read_header(BOMBS["chunks"]())
    with pytest.raises(CorruptImage, match="more than 2000 segments"):
        read_header(BOMBS["segments"]())


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Flipped, overwritten, cut out, repeated or cut off; mostly near the start, where the headers are."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        at = min(int(rng.expovariate(8 / len(data))), len(changed) - 1)
        match rng.randrange(5):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"])
            case 2:
                del changed[at : at + rng.randint(1, 8)]
            case 3:
                changed[at:at] = changed[at : at + rng.randint(1, 16)]
            case _:
                del changed[max(1, len(changed) - rng.randint(0, 40)) :]
        if not changed:
            break
    return bytes(changed)


def test_mutated_headers_give_a_header_or_a_documented_error() -> None:
    rng = random.Random(17)
    seeds = [write(SMALL) for write in KINDS.values()]
    read = 0
    for _ in range(6000):
        try:
            header = read_header(mutated(rng.choice(seeds), rng))
        except ImageError as error:
            assert error.kind and "\n" not in str(error) and len(str(error)) < 300
        else:
            assert header.width > 0 and header.height > 0 and 1 <= header.orientation <= 8
            assert forecast(header).bytes >= header.pixels
            read += 1
    assert 500 < read < 5500


FINDINGS = {
    # More bits than samples: what Pillow got had none.
    "bits": tiff((258, 3, 20, 300), (277, 3, 1, 1)) + bytes(400),
    # A frame of no channels, whose number stood in the next segment.
    "frame": b"\xff\xd8\xff\xc0\0\7\x08\0\1\0\1\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9",
}


@pytest.mark.parametrize("finding", FINDINGS)
def test_findings_of_the_fuzzer(finding: str) -> None:
    try:
        decode(FINDINGS[finding], max_pixels=10**6)
    except ImageError as error:
        assert error.kind


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
def test_the_fuzzer_finds_nothing_in_a_minute(tmp_path: Path) -> None:
    for index, write in enumerate(KINDS.values()):
        (tmp_path / str(index)).write_bytes(write(SMALL))
    options = [str(tmp_path), "-max_total_time=45", "-max_len=20000", f"-artifact_prefix={tmp_path}/found-"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.fuzz_headers", *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
