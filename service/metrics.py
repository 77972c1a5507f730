"""What the service tells Prometheus. Each app has its own registry."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "pointrend_request_seconds",
            "From the request's first byte to the answer's last.",
            ("route", "status"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._stages = Histogram(
            "pointrend_stage_seconds",
            "A request's time in each stage; coarse and refine are its whole batch's.",
            ("stage", "model"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batches = Histogram(
            "pointrend_batch_images",
            "Images of a coarse batch.",
            ("model",),
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self._registry,
        )
        self._instances = Histogram(
            "pointrend_instances",
            "Instances of an answer.",
            ("model",),
            buckets=(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
            registry=self._registry,
        )
        self._rejected = Counter(
            "pointrend_rejected",
            "Requests answered with a problem.",
            ("problem",),
            registry=self._registry,
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).observe(seconds)

    def segmented(self, model: str, seconds: Mapping[str, float], instances: int) -> None:
        for stage, value in seconds.items():
            self._stages.labels(stage, model).observe(value)
        self._instances.labels(model).observe(instances)

    def batch(self, model: str, images: int) -> None:
        self._batches.labels(model).observe(images)

    def rejected(self, problem: str) -> None:
        self._rejected.labels(problem).inc()

    def text(self) -> bytes:
        """In Prometheus' exposition format."""
        return generate_latest(self._registry)
