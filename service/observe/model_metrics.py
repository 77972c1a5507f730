"""Metrics of the work that models do: coarse passes, steps of the renderer, answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from model.pointrend.levels import COARSEST, SIDES
from service.engine.device.batching import Reason
from service.engine.request import Request, Stage
from service.observe.registry import SECONDS, Registry
from service.observe.request_metrics import RequestMetrics

_STEP_SECONDS = SECONDS[:11]
_SIDES = frozenset((COARSEST, 2 * COARSEST, *SIDES))  # of masks


class ModelMetrics:
    """The metrics of all models; `of` gives the observer of one of them."""

    def __init__(self, registry: Registry, requests: RequestMetrics) -> None:
        make = registry.make
        self.requests = requests
        self.stages = make(
            Histogram,
            "stage_seconds",
            "A request's time in each stage; coarse is the time of its whole batch.",
            ("stage", "model"),
            buckets=SECONDS,
        )
        self.batches = make(
            Histogram, "batch_images", "Images of a coarse pass.", ("model",), buckets=(1, 2, 4, 8, 16, 32)
        )
        self.reasons = make(
            Counter, "batches", "Coarse passes, by why they had no more images.", ("model", "reason")
        )
        self.pixels = make(
            Counter, "batch_pixels", "Pixels of coarse passes, of images or padding.", ("model", "kind")
        )
        self.boxes = make(
            Histogram,
            "box_pass_seconds",
            "Passes over given boxes of kept pictures.",
            ("model",),
            buckets=_STEP_SECONDS,
        )
        self.steps = make(
            Histogram, "step_seconds", "Steps of the renderer.", ("model",), buckets=_STEP_SECONDS
        )
        self.levels = make(
            Histogram,
            "level_seconds",
            "The step that a level was part of, by side of the level; it may hold other levels, too.",
            ("model", "side"),
            buckets=_STEP_SECONDS,
        )
        self.points = make(
            Counter,
            "level_points",
            "Work of the renderer in points, by side of the level.",
            ("model", "side"),
        )
        self.instances = make(
            Histogram,
            "instances",
            "Instances of an answer.",
            ("model",),
            buckets=(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
        )
        self.masks = make(Counter, "masks", "Masks answered, by the side they reached.", ("model", "side"))
        self.coarser = make(
            Counter,
            "coarser",
            "Answers that are coarser than asked for, by why: deadline or pressure.",
            ("model", "why"),
        )

    def of(self, model: str) -> ModelObserver:
        """Return the observer of this model's engine."""
        return ModelObserver(self, model)


@dataclass(frozen=True)
class ModelObserver:
    """Counts what the engine of one model reports (service/engine/observer.py)."""

    metrics: ModelMetrics
    model: str

    def passed(self, requests: Sequence[Request], reason: Reason, seconds: float) -> None:
        """Count a coarse pass, its images and their padding; or a pass over boxes of a kept picture."""
        if requests[0].picture is not None:
            self.metrics.boxes.labels(self.model).observe(seconds)
            return
        used = sum(math.prod(request.prepared.pixels.shape[1:]) for request in requests)
        padded = sum(math.prod(request.padded) for request in requests)
        self.metrics.batches.labels(self.model).observe(len(requests))
        self.metrics.reasons.labels(self.model, reason).inc()
        self.metrics.pixels.labels(self.model, "image").inc(used)
        self.metrics.pixels.labels(self.model, "padding").inc(padded - used)

    def advanced(self, points: Mapping[int, int], seconds: float) -> None:
        """Count a step of the renderer, which took `seconds`, and its work by the side of the level."""
        self.metrics.steps.labels(self.model).observe(seconds)
        for side, count in points.items():
            self.metrics.points.labels(self.model, _side_label(side)).inc(count)
        for label in set(map(_side_label, points)):
            self.metrics.levels.labels(self.model, label).observe(seconds)

    def left(self, stage: Stage) -> None:
        """Count a request whose client left."""
        self.metrics.requests.left(stage)

    def answered(self, request: Request) -> None:
        """Count an answer, its masks, the time it took, and why it is coarser than asked for, if it is."""
        for stage, seconds in request.answer.seconds.items():
            self.metrics.stages.labels(stage, self.model).observe(seconds)
        parts = request.result.parts
        self.metrics.instances.labels(self.model).observe(len(parts))
        for part in parts:
            self.metrics.masks.labels(self.model, _side_label(part.side)).inc()
        if request.truncated:
            why = "pressure" if request.degraded else "deadline"
            self.metrics.coarser.labels(self.model, why).inc()


def _side_label(side: int) -> str:
    """Return a mask's side as it is, and a label map's height, of which there are thousands, as a power of two."""
    return str(side if side in _SIDES else 1 << (side - 1).bit_length())
