"""`python -m bench.zoom URL`: what windows and boxes of a kept picture take, and a picture of one edge at 1× and 16×.

URL is a running service with the model people.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pointrend_client import Client, KeptImage

PICTURE = Path("examples/astronaut.jpg")
OUT = Path("docs/images/zoom.png")
EDGE = (272.0, 190.0)  # where neck and shoulder meet, in pixels of the picture
PANEL, ZOOM = 384, 16  # pixels of a panel, and how far the others enlarge
TIMES = 15
BOXES, SIDE = (1, 10), 224  # how many are given at a time, and how large their masks are
INK = (255, 90, 60)


def window(zoom: float, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the window around EDGE of which `size` pixels are shown, `zoom` of them for each of the picture's."""
    width, height = size[0] / zoom, size[1] / zoom
    left, top = max(0.0, EDGE[0] - width / 2), max(0.0, EDGE[1] - height / 2)
    return left, top, left + width, top + height


def medians(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median of the seconds that each call takes. They take turns, so that all see the same machine."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TIMES):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - begin)
    return {name: median(each) for name, each in found.items()}


def parts(bbox: tuple[float, float, float, float], count: int) -> list[list[float]]:
    """Return some boxes: the first is the object's own, and each further one is smaller."""
    x, y, width, height = bbox
    shares = [1 - i / (2 * count) for i in range(count)]
    return [[x, y, x + share * width, y + share * height] for share in shares]


def segmenting(
    client: Client, kept: str, bbox: tuple[float, float, float, float]
) -> dict[str, Callable[[], object]]:
    """Return calls that segment the whole picture, and boxes of it, with the picture and without it."""
    calls: dict[str, Callable[[], object]] = {
        "segment the picture, native resolution": partial(client.segment, PICTURE, model="people"),
        "the same, and keep it": partial(client.segment, PICTURE, model="people", keep=300),
    }
    for count in BOXES:
        for name, picture in (("the picture sent", PICTURE), ("the picture kept", KeptImage(kept))):
            boxes = parts(bbox, count)
            asked = partial(client.segment, picture, model="people", boxes=boxes, resolution=SIDE)
            calls[f"segment {count} given box{'es' * (count > 1)} at side {SIDE}, {name}"] = asked
    return calls


def rendering(client: Client, kept: str, limits: tuple[int, int]) -> dict[str, Callable[[], object]]:
    """Return calls that render windows of the first instance, those that are within the picture."""
    calls: dict[str, Callable[[], object]] = {}
    for zoom in (1, 4, ZOOM):
        for size in ((512, 512), (1024, 768)):
            corners = window(zoom, size)
            if min(corners) >= 0 and corners[2] <= limits[0] and corners[3] <= limits[1]:
                name = f"render {size[0]}×{size[1]} at {zoom}×"
                calls[name] = partial(client.render, kept, 0, window=corners, size=size)
    return calls


def panel(corners: tuple[float, float, float, float], mask: NDArray[np.bool_]) -> Image.Image:
    """Return a part of the picture in PANEL pixels with a mask of as many drawn over it."""
    with Image.open(PICTURE) as image:
        part = image.convert("RGB").resize((PANEL, PANEL), Image.Resampling.BICUBIC, corners)
    tint = Image.new("RGB", part.size, INK)
    return Image.composite(Image.blend(part, tint, 0.5), part, Image.fromarray(mask))


def draw(client: Client, kept: str, instance: int, native: NDArray[np.bool_], out: Path) -> None:
    """Write the picture: at the left at 1×, then at 16× the pixels of the native mask, and what was rendered for it."""
    panels = []
    for zoom in (1, ZOOM):
        corners = window(zoom, (PANEL, PANEL))
        panels.append(
            panel(corners, client.render(kept, instance, window=corners, size=(PANEL, PANEL)) >= 128)
        )
    corners = window(ZOOM, (PANEL, PANEL))
    x, y = (
        np.floor(np.linspace(a, b, PANEL, endpoint=False)).astype(int)
        for a, b in zip(corners[:2], corners[2:], strict=True)
    )
    panels.insert(1, panel(corners, native[np.ix_(y, x)]))
    half = PANEL / ZOOM / 2
    middle = PANEL / 2
    ImageDraw.Draw(panels[0]).rectangle(
        (middle - half, middle - half, middle + half, middle + half), outline="white", width=2
    )
    sheet = Image.new("RGB", (3 * PANEL + 16, PANEL), "white")
    for place, each in enumerate(panels):
        sheet.paste(each, (place * (PANEL + 8), 0))
    sheet.quantize(128).save(out, optimize=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(arguments)
    with Client(given.url) as client:
        found = client.segment(PICTURE, model="people", keep=300)
        assert found.kept is not None
        kept, best = found.kept, found.instances[0]
        draw(client, kept, 0, best.mask, given.out)
        print(f"{given.out}: {given.out.stat().st_size:,} bytes")
        calls = segmenting(client, kept, best.bbox) | rendering(client, kept, (found.width, found.height))
        print("| what | ms |\n| --- | --- |")
        for name, spent in medians(calls).items():
            print(f"| {name} | {1000 * spent:.1f} |")


if __name__ == "__main__":
    main()
