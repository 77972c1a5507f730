"""`python -m bench.speed.encoding`: what encoding takes, beside its forecast, and how long it stops other threads."""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.config.categories import Category
from model.masks.palette import default_palette
from model.pointrend.label_map_pyramid import Pyramid
from model.predict.instance import Instances, Mask
from model.predict.label_map import LabelMap
from service.output.cost import encode_forecast
from service.output.encode import encode
from service.output.format import Found
from service.output.formats import FORMATS
from service.output.limits import AnswerTooLarge

LARGE, PHOTO, SMALL = (8000, 6125), (4000, 3000), (640, 480)
CLASSES = 19
_ROOT = Path(__file__).parents[2]


def star(side: int) -> Tensor:
    """Return the logits of one smooth shape."""
    y, x = torch.meshgrid(*[torch.arange(side) / side - 0.5] * 2, indexing="ij")
    return 60 * (0.35 + 0.08 * torch.sin(9 * torch.atan2(y, x)) - torch.hypot(x, y))


def noise(side: int) -> Tensor:
    """Return logits of which every cell is foreground or not by chance."""
    return torch.randn(side, side, generator=torch.Generator().manual_seed(0))


def masks(logits: Tensor, count: int, size: tuple[int, int], share: float = 1.0) -> Found:
    """Return masks in an image; the area of their boxes is a `share` of it."""
    width, height = size
    part = math.sqrt(share)
    found = []
    for i in range(count):
        x, y = (1 - part) * width * (i % 7) / 6, (1 - part) * height * (i % 5) / 4
        box = np.array([x, y, x + part * width, y + part * height], np.float32)
        found.append(Mask(0, 0.9, box, logits, None, False))
    return _found("instance", Instances(tuple(found)), size)


def label_map(cells: int, size: tuple[int, int]) -> Found:
    """Return a label map, by chance in cells of a grid of that height, which is then enlarged."""
    width, height = size
    rng = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, CLASSES, cells, 2 * cells, generator=rng)
    base = F.interpolate(coarse, size=(256, 512), mode="bilinear")[0]
    return _found("semantic", LabelMap(Pyramid(base), (height, width), None, None, False), size)


CASES: Mapping[str, tuple[str, Callable[[], Found]]] = MappingProxyType(
    {
        "1 smooth mask, 0.3 MP": ("instance", lambda: masks(star(224), 1, SMALL)),
        "30 smooth masks, 12 MP, a tenth each": ("instance", lambda: masks(star(448), 30, PHOTO, 0.1)),
        "1 smooth mask, 49 MP": ("instance", lambda: masks(star(896), 1, LARGE)),
        "12 smooth masks, 49 MP": ("instance", lambda: masks(star(896), 12, LARGE)),
        "1 mask of noise 224, 49 MP": ("instance", lambda: masks(noise(224), 1, LARGE)),
        "1 mask of noise 896, 49 MP": ("instance", lambda: masks(noise(896), 1, LARGE)),
        "12 masks of noise 28, 49 MP": ("instance", lambda: masks(noise(28), 12, LARGE)),
        "100 masks of noise 224, 12 MP, a hundredth each": (
            "instance",
            lambda: masks(noise(224), 100, PHOTO, 0.01),
        ),
        "label map, 0.3 MP": ("semantic", lambda: label_map(8, SMALL)),
        "label map, 12 MP": ("semantic", lambda: label_map(16, PHOTO)),
        "label map, 33 MP": ("semantic", lambda: label_map(16, (8192, 4096))),
        "label map of noise 64, 12 MP": ("semantic", lambda: label_map(64, PHOTO)),
        "label map of noise 256, 33 MP": ("semantic", lambda: label_map(256, (8192, 4096))),
    }
)


def _found(task: str, result: Any, size: tuple[int, int]) -> Found:
    return Found(
        request_id="id",
        model="model",
        task=task,
        categories=tuple(Category(i, str(i)) for i in range(CLASSES)),
        palette=default_palette(CLASSES),
        width=size[0],
        height=size[1],
        result=result,
    )


def _with_pixels(found: Found, format: str) -> Found:
    """Return what was found with an image of noise, which cannot be packed, if the format shows the image."""
    if not FORMATS[format].needs_pixels:
        return found
    pixels = np.random.default_rng(0).integers(0, 256, (found.height, found.width, 3), np.uint8)
    return replace(found, pixels=pixels)


def measured(case: str, format: str) -> dict[str, float | str]:
    """Encode a case in this process."""
    task, make = CASES[case]
    small = masks(star(28), 1, (64, 64)) if task == "instance" else label_map(8, (64, 64))
    encode(_with_pixels(small, format), FORMATS[format], {}, 0.0)  # what is loaded only once
    found = make()
    forecast = encode_forecast(format, task, found.result, found.width, found.height)
    before = _peak()
    found = _with_pixels(found, format)
    start, beat = time.process_time(), _Beat()
    text, outcome = 0, ""
    try:
        text = len(encode(found, FORMATS[format], {}, 0.0).body)
    except AnswerTooLarge:
        outcome = "refused"
    seconds, pause = time.process_time() - start, beat.longest()
    return {
        "mb": _peak() - before,
        "forecast_mb": forecast.bytes / 1e6,
        "seconds": seconds,
        "forecast_seconds": forecast.seconds,
        "text_mb": text / 1e6,
        "pause_ms": 1000 * pause,
        "outcome": outcome,
    }


class _Beat:
    """A thread that wakes up every millisecond, as an event loop would."""

    def __init__(self) -> None:
        self._late, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def longest(self) -> float:
        """Stop, and return by how many seconds it woke up late at worst."""
        self._stop.set()
        self._thread.join()
        return self._late

    def _run(self) -> None:
        last = time.perf_counter()
        while not self._stop.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            self._late, last = max(self._late, now - last - 0.001), now


def measured_alone(case: str, format: str) -> dict[str, Any]:
    """Return `measured` from a process of its own, because a peak of memory cannot be measured twice."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.speed.encoding", case, format],
        capture_output=True,
        text=True,
        check=True,
        cwd=_ROOT,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _peak() -> float:
    """Return the most memory that this process has had, MB."""
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    )


def main() -> None:
    """Print a table of cases and formats. With a case and a format as arguments, print its figures as JSON instead."""
    torch.set_num_threads(1)
    if sys.argv[1:]:
        print(json.dumps(measured(sys.argv[1], sys.argv[2])))
        return
    print("| what | format | memory, MB | forecast | CPU, s | forecast | answer, MB | others wait, ms |")
    print("|---|---|---|---|---|---|---|---|")
    for case, (task, _) in CASES.items():
        for format in (name for name, each in FORMATS.items() if task in each.tasks):
            f = measured_alone(case, format)
            print(
                f"| {case} | {format} | {f['mb']:.0f} | {f['forecast_mb']:.0f} | {f['seconds']:.2f} "
                f"| {f['forecast_seconds']:.2f} | {f['outcome'] or format_mb(f['text_mb'])} | {f['pause_ms']:.0f} |",
                flush=True,
            )


def format_mb(value: float) -> str:
    """Return megabytes with the digits that matter."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


if __name__ == "__main__":
    main()
