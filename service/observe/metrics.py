"""What the service tells Prometheus (docs/metrics.md). Each app has its own registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from export.manifest import Manifest
from model.pointrend.render import COARSEST, SIDES
from service.engine.admission import Admission
from service.engine.batching import Reason
from service.engine.request import Stage

M = TypeVar("M", bound=MetricWrapperBase)


class Worker(Protocol):
    """An engine, as far as gauges show it."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def providers(self) -> tuple[str, ...]: ...
    @property
    def alive(self) -> bool: ...
    @property
    def ready(self) -> bool: ...
    @property
    def admission(self) -> Admission: ...
    @property
    def depth(self) -> Mapping[Stage, int]: ...


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COUNTS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_LEVELS = (COARSEST, 2 * COARSEST, *SIDES)  # of masks


class Metrics:
    """Of the whole service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        make = self._make
        self._requests = make(
            Histogram,
            "request_seconds",
            "From the request's first byte to the answer's last.",
            ("route", "status"),
            buckets=_SECONDS,
        )
        self.in_flight = make(Gauge, "requests_in_flight", "Requests that are not answered yet.")
        self._rejected = make(Counter, "rejected", "Requests answered with a problem.", ("problem",))
        self._cancelled = make(
            Counter, "cancelled", "Requests whose client left, by where they were.", ("stage",)
        )
        self._info = make(Gauge, "build_info", "Always 1.", ("version", "device"))
        self._threads = make(Gauge, "threads", "Threads that the device's work may use.")
        self._model_info = make(
            Gauge, "model_info", "Always 1.", ("model", "task", "providers", "checkpoint")
        )
        self._alive = make(
            Gauge, "model_alive", "Whether the model's worker runs and is not stuck.", ("model",)
        )
        self._ready = make(Gauge, "model_ready", "Whether the model is warmed up.", ("model",))
        self._depth = make(
            Gauge, "queue_requests", "Requests that the scheduler has, by stage.", ("model", "stage")
        )
        self._backlog = make(Gauge, "queue_seconds", "Predicted work of the requests inside.", ("model",))
        self._limit = make(
            Gauge, "queue_limit_seconds", "Predicted work from which on requests are refused.", ("model",)
        )
        self._fullness = make(
            Gauge,
            "queue_fullness",
            "Share of the queue taken, by work or number: the larger one.",
            ("model",),
        )
        self.stages = make(
            Histogram,
            "stage_seconds",
            "A request's time in each stage; coarse is its whole batch's.",
            ("stage", "model"),
            buckets=_SECONDS,
        )
        self.batches = make(
            Histogram, "batch_images", "Images of a coarse pass.", ("model",), buckets=(1, 2, 4, 8, 16, 32)
        )
        self.closed = make(
            Counter, "batches", "Coarse passes by why they were not larger.", ("model", "reason")
        )
        self.pixels = make(
            Counter, "batch_pixels", "Pixels of coarse passes: the images', or padding.", ("model", "kind")
        )
        self.steps = make(
            Histogram, "step_seconds", "Steps of the renderer.", ("model",), buckets=_SECONDS[:11]
        )
        self.levels = make(
            Histogram,
            "level_seconds",
            "A level, by its side: its whole step's, which may hold other levels, too.",
            ("model", "side"),
            buckets=_SECONDS[:11],
        )
        self.points = make(
            Counter,
            "level_points",
            "Work of the renderer in points, by side of the level.",
            ("model", "side"),
        )
        self.instances = make(Histogram, "instances", "Instances of an answer.", ("model",), buckets=_COUNTS)
        self.masks = make(Counter, "masks", "Masks answered, by achieved side.", ("model", "side"))
        self.coarser = make(
            Counter, "coarser", "Answers coarser than asked for: deadline or pressure.", ("model", "why")
        )

    def _make(
        self,
        kind: Callable[..., M],
        name: str,
        text: str,
        labels: Iterable[str] = (),
        **more: object,
    ) -> M:
        return kind(f"pointrend_{name}", text, labels, registry=self.registry, **more)

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).observe(seconds)

    def rejected(self, problem: str) -> None:
        self._rejected.labels(problem).inc()

    def cancelled(self, stage: str) -> None:
        self._cancelled.labels(stage).inc()

    def built(self, version: str, device: str, threads: int) -> None:
        self._info.labels(version, device).set(1)
        self._threads.set(threads)

    def watch(self, model: str, worker: Worker, limit: float) -> None:
        """Gauges of a model, read whenever Prometheus asks; `limit`: of its queue, s."""
        source = worker.manifest.source.get("sha256", "")
        self._model_info.labels(model, worker.manifest.task, ",".join(worker.providers), source).set(1)
        self._limit.labels(model).set(limit)
        self._alive.labels(model).set_function(lambda: float(worker.alive))
        self._ready.labels(model).set_function(lambda: float(worker.ready))
        self._backlog.labels(model).set_function(lambda: worker.admission.backlog)
        self._fullness.labels(model).set_function(lambda: worker.admission.pressure)
        for stage in worker.depth:
            self._depth.labels(model, stage).set_function(partial(_requests, worker, stage))

    def text(self) -> bytes:
        """In Prometheus' exposition format."""
        return generate_latest(self.registry)


def _bucket(side: int) -> str:
    """A mask's side as it is; a label map's height, of which there are thousands, as the next power of two."""
    return str(side if side in _LEVELS else 1 << (side - 1).bit_length())


def _requests(worker: Worker, stage: Stage) -> float:
    return float(worker.depth[stage])


class ModelMetrics:
    """Of one model."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._all, self._model = metrics, model

    def passed(self, images: int, reason: Reason, padded: int, used: int) -> None:
        """A coarse pass over `padded` pixels, `used` of them the images'."""
        self._all.batches.labels(self._model).observe(images)
        self._all.closed.labels(self._model, reason).inc()
        self._all.pixels.labels(self._model, "image").inc(used)
        self._all.pixels.labels(self._model, "padding").inc(padded - used)

    def advanced(self, points: Mapping[int, int], seconds: float) -> None:
        """A step of the renderer; points by side of the level."""
        self._all.steps.labels(self._model).observe(seconds)
        for side, count in points.items():
            self._all.points.labels(self._model, _bucket(side)).inc(count)
        for label in set(map(_bucket, points)):
            self._all.levels.labels(self._model, label).observe(seconds)

    def left(self, stage: str) -> None:
        self._all.cancelled(stage)

    def answered(self, seconds: Mapping[str, float], sides: Iterable[int], coarser: str | None) -> None:
        """`seconds` by stage; the masks' `sides`; why they are coarser than asked for, if they are."""
        for stage, value in seconds.items():
            self._all.stages.labels(stage, self._model).observe(value)
        masks = list(sides)
        self._all.instances.labels(self._model).observe(len(masks))
        for side in masks:
            self._all.masks.labels(self._model, _bucket(side)).inc()
        if coarser is not None:
            self._all.coarser.labels(self._model, coarser).inc()
