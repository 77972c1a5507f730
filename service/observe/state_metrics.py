"""Metrics of what the service and its models are and how they are: most are read only when Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from prometheus_client import Gauge

from export.execution import Execution
from export.manifest import Manifest
from service.engine.queue.admission import Admission
from service.engine.request import Stage
from service.observe.registry import Registry


class ModelState(Protocol):
    """An engine, as far as gauges show it."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def providers(self) -> tuple[str, ...]: ...
    @property
    def execution(self) -> Execution: ...
    @property
    def alive(self) -> bool: ...
    @property
    def ready(self) -> bool: ...
    @property
    def depth(self) -> Mapping[Stage, int]: ...


class StateMetrics:
    """Shows the build, and the state of each model."""

    def __init__(self, registry: Registry) -> None:
        make = registry.make
        self._build = make(Gauge, "build_info", "Always 1.", ("version", "device"))
        self._threads = make(Gauge, "threads", "Threads that the work on the device may use.")
        self._info = make(Gauge, "model_info", "Always 1.", ("model", "task", "providers", "checkpoint"))
        self._precision = make(Gauge, "model_precision", "Always 1.", ("model", "coarse_pass", "point_head"))
        self._alive = make(
            Gauge, "model_alive", "Whether the model's worker runs and is not stuck.", ("model",)
        )
        self._ready = make(Gauge, "model_ready", "Whether the model is warmed up.", ("model",))
        self._depth = make(
            Gauge, "queue_requests", "Requests that the scheduler has, by stage.", ("model", "stage")
        )
        self._backlog = make(Gauge, "queue_seconds", "Predicted work of all requests inside.")
        self._limit = make(Gauge, "queue_limit_seconds", "Predicted work from which on requests are refused.")
        self._fullness = make(
            Gauge,
            "queue_fullness",
            "Share of the queue that is taken or promised, by work or by number, whichever is larger; 1 at most.",
        )
        self._promised = make(
            Gauge, "queue_promised", "Refused requests that were told to come back and may still do so."
        )
        self._budget = make(Gauge, "budget_bytes", "Memory that this work may take.", ("budget",))
        self._used = make(
            Gauge, "budget_used_bytes", "Memory of the budget that requests have now.", ("budget",)
        )
        self._decoders = make(Gauge, "decode_processes", "Processes that decode images, those that run.")
        self._killed = make(
            Gauge, "decode_processes_killed", "Processes that were killed over an image since the start."
        )

    def show_build(self, version: str, device: str, threads: int) -> None:
        """Show what runs."""
        self._build.labels(version, device).set(1)
        self._threads.set(threads)

    def show_budget(self, name: str, limit: int, used: Callable[[], float]) -> None:
        """Show a budget from now on: its bytes, and those of it that are taken."""
        self._budget.labels(name).set(limit)
        self._used.labels(name).set_function(used)

    def show_decoders(self, alive: Callable[[], float], killed: Callable[[], float]) -> None:
        """Show from now on how many processes decode images, and how many were killed since the start."""
        self._decoders.set_function(alive)
        self._killed.set_function(killed)

    def show_queue(self, queue: Admission, seconds: float) -> None:
        """Show the queue of all models from now on; `seconds` is its limit."""
        self._limit.set(seconds)
        self._backlog.set_function(lambda: queue.backlog)
        self._fullness.set_function(lambda: queue.fullness)
        self._promised.set_function(lambda: queue.promised)

    def watch(self, model: ModelState) -> None:
        """Show a model from now on."""
        name, task = model.manifest.name, model.manifest.task
        checkpoint = model.manifest.source.get("sha256", "")
        self._info.labels(name, task, ",".join(model.providers), checkpoint).set(1)
        self._precision.labels(name, model.execution.precision, model.execution.head_precision).set(1)
        self._alive.labels(name).set_function(lambda: float(model.alive))
        self._ready.labels(name).set_function(lambda: float(model.ready))
        for stage in model.depth:
            self._depth.labels(name, stage).set_function(partial(_requests, model, stage))


def _requests(model: ModelState, stage: Stage) -> float:
    return float(model.depth[stage])
