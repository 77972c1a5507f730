"""The attacks' inputs are what they say, the cage holds, and a table can be made: without any server."""

from __future__ import annotations

import io
import math
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from bench.hostile import pictures
from bench.hostile.__main__ import HEADER, row
from bench.hostile.attack import ATTACKS, Harm
from bench.hostile.cage import Cage, Watch, limited
from bench.hostile.wire import head


def test_a_lossless_webp_of_49_megapixels_has_some_bytes() -> None:
    assert len(pictures.webp_of_one_colour()) < 50
    with Image.open(io.BytesIO(pictures.webp_of_one_colour())) as opened:
        assert opened.size == (7000, 7000)
    with Image.open(io.BytesIO(pictures.webp_of_one_colour(30))) as small:
        assert small.convert("RGBA").getcolors() == [(900, (0, 0, 0, 0))]  # it can be decoded


def test_a_tiff_has_as_many_strips_as_bytes_by_two() -> None:
    body = pictures.tiff_of_strips(1000)
    assert 2000 < len(body) < 2200
    with Image.open(io.BytesIO(body)) as opened:
        assert opened.size == (8, 1000)
        offsets = opened.tag_v2[273]  # type: ignore[attr-defined]
        assert len(offsets) == 1000


def test_a_png_of_16_bits_is_whole() -> None:
    body = pictures.png_of_zeros(64)
    assert struct.unpack(">IIBB", body[16:26]) == (64, 64, 16, 6)
    with Image.open(io.BytesIO(body)) as opened:
        assert opened.convert("RGBA").getcolors() == [(64 * 64, (0, 0, 0, 0))]


def test_a_jpeg_is_enlarged() -> None:
    out = io.BytesIO()
    Image.new("RGB", (10, 10), "red").save(out, "PNG")
    with Image.open(io.BytesIO(pictures.large_jpeg(out.getvalue(), 100))) as opened:
        assert (opened.size, opened.format) == ((100, 100), "JPEG")


def test_a_process_that_takes_more_than_its_cage_allows_is_killed() -> None:
    with limited(64 << 20) as cage:
        if isinstance(cage, Watch):
            pytest.skip("no memory cgroup can be made here")
        small = subprocess.run(cage.command([sys.executable, "-c", "pass"]), check=False)
        assert (small.returncode, cage.kills()) == (0, 0)
        code = "held = [b'x' * 1_000_000 for _ in range(200)]"
        large = subprocess.run(cage.command([sys.executable, "-c", code]), check=False)
        assert large.returncode != 0 and cage.kills() == 1
        folder = cage.folder
    assert not folder.exists()


def test_memory_is_counted_with_and_without_a_cage() -> None:
    own = Watch().used(os.getpid())
    assert 10_000_000 < own < 100_000_000_000
    with limited(1 << 30) as cage:
        if isinstance(cage, Cage):
            assert 0 <= cage.used(0) < 10_000_000


def test_each_attack_has_a_row() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(names) == len(set(names)) == 14
    harm = Harm("x", True, 1, 2_000_000_000, 0.2, math.inf, 0.5, 1, 2, 0.9, "much")
    shown = row(harm)
    assert len(shown) == len(HEADER) + 2
    assert shown[:6] == ["x", "yes, 1 killed", "2.00", "200", "inf", "inf"]


def test_a_head_is_complete() -> None:
    text = head("/segment", "chunked").decode()
    assert re.fullmatch(r"POST /segment HTTP/1\.1\r\n(\S+: [^\r]+\r\n)+\r\n", text)
    assert "Content-Length: 7\r\n" in head("/", 7).decode()


def test_the_picture_of_other_clients_is_there() -> None:
    from bench.hostile.__main__ import PICTURE

    assert Path(PICTURE).is_file()
