"""The ways of two libraries from boxes to polygons, run by an environment that has one of them.

It imports nothing of this project, so that the environment needs the library and NumPy alone. Prototypes and
coefficients are smooth noise: what these functions take depends on sizes, not on weights.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROTOTYPES, SIDE, KNOTS = 32, 160, 10  # of a network whose input has 640 pixels
Arrays = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def arrays(boxes: list[list[float]]) -> Arrays:
    """Return prototypes [32, 160, 160], coefficients [N, 32] and boxes [N, 4]."""
    rng = np.random.default_rng(0)
    knots = rng.normal(size=(PROTOTYPES, KNOTS, KNOTS))
    place = np.linspace(0, KNOTS - 1, SIDE)
    across = np.array([[np.interp(place, np.arange(KNOTS), row) for row in each] for each in knots])
    down = np.array([[np.interp(place, np.arange(KNOTS), row) for row in each.T] for each in across])
    coefficients = rng.normal(size=(len(boxes), PROTOTYPES))
    return down.astype(np.float32), coefficients.astype(np.float32), np.array(boxes, np.float32)


def ultralytics(given: Arrays, height: int, width: int) -> Any:
    """Return the polygons of masks at the picture's size, as its `retina_masks=True` makes them."""
    import torch
    from ultralytics.utils import ops

    masks = ops.process_mask_native(*map(torch.from_numpy, given), (height, width))
    return ops.masks2segments(masks)


def inference(given: Arrays, height: int, width: int) -> Any:
    """Return the polygons of masks at the picture's size, as its mode `accurate` makes them."""
    from inference.core.utils.postprocess import masks2poly, process_mask_accurate

    return masks2poly(process_mask_accurate(*given, (height, width)))


def measured(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Return the median of the milliseconds of a call, and the MB that it takes at most beyond what was held.

    A call that takes nothing has 0 MB: the kernel counts memory in steps, so a difference may be a few kB below it.
    """
    work()
    spent = []
    with open("/proc/self/clear_refs", "w") as peak:  # the peak begins again
        peak.write("5")
    before = _kilobytes("VmRSS")
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begin)
    return {"ms": 1000 * median(spent), "MB": max(0, _kilobytes("VmHWM") - before) * 1024 / 1e6}


def _kilobytes(name: str) -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(f"{name}:"))


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    way = {"ultralytics": ultralytics, "inference": inference}[asked["library"]]
    given = arrays(asked["boxes"])
    print(json.dumps(measured(lambda: way(given, asked["height"], asked["width"]), asked["repeats"])))
