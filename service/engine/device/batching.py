"""Which waiting requests share a coarse pass, and which renders share a step: pure choices without clock or thread.

All requests share one device. It serves them in the order of `Request.due`: the time of arrival plus a multiple of the
predicted cost, whatever the model. So a small request overtakes a large one that came a little earlier, and a large one
that has waited in proportion to its cost is served before small ones that come later: no request starves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from model.pointrend.render import Render
from service.engine.request import Request

# Why a batch is not larger. full: it has no room for another request; idle: no other request is being decoded;
# time: its first request has waited for others as long as it may.
Reason = Literal["full", "idle", "time"]


@dataclass(frozen=True)
class BatchLimits:
    """How large coarse passes and steps of the renderer may be, and how long a request waits for others."""

    max_wait: float  # seconds that a request waits for others that are being decoded
    pixels: int  # padded pixels of a coarse pass; one image is always allowed
    points: int  # work of a step of the renderer; one render is always allowed
    stretch: float = 8.0  # a request may be overtaken until it has waited this many times its cost
    ahead: int = 4  # images that are decoded before their turn


@dataclass(frozen=True)
class Batch:
    """Requests that share a coarse pass, and why there are not more of them."""

    requests: tuple[Request, ...]
    reason: Reason


def form_batch(waiting: Iterable[Request], limits: BatchLimits, now: float, expected: int) -> Batch | None:
    """Return the batch of the request that is due first, or None while it is better to wait.

    Only requests of one model and of equal padded size share a batch; one about a kept picture is alone. It is better
    to wait while the batch has room and other requests are being decoded (`expected` is their number), but not beyond
    `batch_deadline`.
    """
    order = sorted(waiting, key=lambda request: request.due)
    if not order:
        return None
    first = order[0]
    if first.picture is not None:
        return Batch((first,), "full")
    capacity = max(1, limits.pixels // math.prod(first.padded))
    alike = [
        request
        for request in order
        if (request.model, request.padded, request.picture) == (first.model, first.padded, None)
    ]
    requests = tuple(alike[:capacity])
    if len(requests) == capacity:
        return Batch(requests, "full")
    if not expected:
        return Batch(requests, "idle")
    if now >= batch_deadline(order, limits):
        return Batch(requests, "time")
    return None


def batch_deadline(waiting: Sequence[Request], limits: BatchLimits) -> float:
    """Return the time until which the request that is due first may wait for others."""
    return min(waiting, key=lambda request: request.due).since + limits.max_wait


def choose_step(renders: Iterable[Render], limits: BatchLimits) -> list[Render]:
    """Return the first of the given unfinished renders whose next steps together stay within the limit of points."""
    chosen: list[Render] = []
    total = 0
    for render in renders:
        total += render.next_level()[1]
        if chosen and total > limits.points:
            break
        chosen.append(render)
    return chosen
