"""Whatever the bytes, the header check returns a header or a documented error, after a bounded number of steps."""

from __future__ import annotations

import random
import subprocess
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.speed.picture_kinds import KINDS
from model.predict.forecast import forecast
from model.predict.headers import jpeg, png, read_header
from model.predict.image_errors import CorruptImage, ImageError
from model.predict.images import decode
from tests.hostile.header_bombs import BOMBS, SMALL, chunk, png_with, saved, tiff
from tests.hostile.header_work import MOST_STEPS, work_of
from tests.paths import ROOT


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_costs_few_steps_and_little_is_inflated_or_searched(bomb: str) -> None:
    data = BOMBS[bomb]()
    assert work_of(read_header, data).steps < MOST_STEPS
    if data.startswith(b"\x89PNG"):  # what the decoder gets
        assert work_of(png.essential, data).steps < MOST_STEPS


def test_what_is_inflated_and_searched_is_seen() -> None:
    text = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(100)))
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200)))
    assert work_of(read_header, png_with(text + profile)).inflated == 100
    assert work_of(png.essential, png_with(text + profile * 2)).inflated == 200
    data = saved("JPEG", progressive=True)
    assert work_of(read_header, data, lines=False).searched > len(data) // 2


@pytest.mark.parametrize("slice", [2, 3, 50])
def test_searching_in_slices_finds_the_same(monkeypatch: pytest.MonkeyPatch, slice: int) -> None:
    rng = random.Random(3)
    whole = [saved("JPEG", progressive=True), saved("JPEG"), saved("JPEG") + b"\xff\xd9" + bytes(60)]
    files = [data[:-cut] for data in whole for cut in (1, 2, 3, 61)] + whole
    files += [mutated(rng.choice(whole), rng) for _ in range(100)]
    expected = [answer(data) for data in files]
    monkeypatch.setattr(jpeg, "_SLICE", slice)
    assert [answer(data) for data in files] == expected
    assert len(set(expected)) > 5


def answer(data: bytes) -> str:
    try:
        return repr(read_header(data))
    except ImageError as error:
        return repr(error)


@pytest.mark.parametrize(
    "bomb", ["strip offsets by the million", "strip counts by the million", "values of another directory"]
)
def test_pillow_does_not_see_the_bomb(bomb: str) -> None:
    """Pillow would build an object for each of the values, before it looks at the picture's size."""
    data = BOMBS[bomb]()
    assert work_of(lambda file: decode(file, max_pixels=100), data).steps < 10_000
    assert decode(data, max_pixels=100).pixels.shape == (4, 4, 3)


def test_strips_and_chunks_are_bounded() -> None:
    with pytest.raises(CorruptImage, match="more than 10000 strips"):
        read_header(BOMBS["strips of a row"]())
    with pytest.raises(CorruptImage, match="more than 5000 chunks"):
        read_header(BOMBS["chunks"]())
    with pytest.raises(CorruptImage, match="more than 50000 chunks of pixels"):
        read_header(BOMBS["pixels in empty chunks"]())
    with pytest.raises(CorruptImage, match="more than 20000 blocks"):
        read_header(BOMBS["long extensions"]())
    with pytest.raises(CorruptImage, match="more than 2000 segments"):
        read_header(BOMBS["segments"]())


def test_strips_chunks_and_blocks_are_forecast() -> None:
    image, pixels = saved("PNG"), chunk(b"IDAT", b"")
    gif = saved("GIF")
    start = 13 + (3 << (gif[10] & 7) + 1)
    for few, many, more in (
        (tiff(), tiff((273, 4, 4, 8), (279, 4, 4, 8), rows=1), 3),
        (image, image[:33] + pixels * 1000 + image[33:], 1000),
        (gif, gif[:start] + b"\x21\xfe" + b"\1x" * 999 + b"\0" + gif[start:], 1000),
    ):
        one, other = read_header(few), read_header(many)
        assert other.parts - one.parts == more
        assert forecast(other).seconds - forecast(one).seconds == pytest.approx(more * 5e-6)


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
