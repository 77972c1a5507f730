"""`python -m bench.speed.label_maps`: time and memory of rendering label maps, beside maps of all classes in floats."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from model.config.semantic import SemanticPointConfig
from model.pointrend.features import FineMap
from model.pointrend.label_map import LabelMapRender
from model.pointrend.point_head import PointHead
from model.pointrend.render import render
from service.machine import available

EXTENT, CLASSES, DIM = (1024, 2048), 19, 256  # Cityscapes, with the published point head


def measured(height: int, classes: int = CLASSES) -> dict[str, float]:
    """Render a map of `height` in this process. Return seconds, and the MB by which its peak of memory rose."""
    torch.manual_seed(0)
    head = PointHead(DIM, classes, SemanticPointConfig(DIM)).eval()
    rows, columns = EXTENT[0] // 4, EXTENT[1] // 4
    coarse = 3 * F.interpolate(torch.randn(1, classes, 16, 32), size=(rows, columns), mode="bicubic")[0]
    fine = FineMap(torch.randn(rows * columns, DIM), rows, columns, 4)
    r = LabelMapRender(coarse, fine, 4, EXTENT, (height, 2 * height))
    before, start = _peak(), time.perf_counter()
    render([r], head)
    rendered, found = time.perf_counter(), r.pyramid.labels(height, 2 * height)
    return {
        "render": rendered - start,
        "labels": time.perf_counter() - rendered,
        "points": sum(len(level.cells) for level in r.pyramid.levels),
        "extra_mb": _peak() - before,
        "labels_mb": found.nbytes / 1e6,
        "float_map_mb": classes * found.size * 4 / 1e6,
    }


def measured_alone(height: int) -> dict[str, float]:
    """Return `measured` from a process of its own, because a peak of memory cannot be measured twice."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.speed.label_maps", str(height)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _peak() -> float:
    """Return the most memory that this process has had, MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Print a table of heights. With a height as argument, print its figures as JSON instead."""
    torch.set_num_threads(available())
    if sys.argv[1:]:
        print(json.dumps(measured(int(sys.argv[1]))))
        return
    print(
        "| map | points | render, s | labels, s | extra memory, MB | of it the labels | all classes in floats |"
    )
    print("|---|---|---|---|---|---|---|")
    for height in (1024, 2048, 4096):
        f = measured_alone(height)
        print(
            f"| {height}×{2 * height} | {f['points']:,.0f} | {f['render']:.2f} | {f['labels']:.2f} "
            f"| {f['extra_mb']:.0f} | {f['labels_mb']:.0f} | {f['float_map_mb']:,.0f} |"
        )


if __name__ == "__main__":
    main()
