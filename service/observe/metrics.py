"""What the service tells Prometheus (docs/metrics.md). Each app has metrics of its own."""

from __future__ import annotations

from prometheus_client import ProcessCollector, generate_latest

from service.observe.kept_metrics import KeptMetrics
from service.observe.model_metrics import ModelMetrics
from service.observe.registry import Registry
from service.observe.request_metrics import RequestMetrics
from service.observe.state_metrics import StateMetrics


class Metrics:
    """All metrics of one app, by what they are about."""

    def __init__(self) -> None:
        registry = Registry()
        self.registry = registry.collected
        ProcessCollector(registry=self.registry)
        self.requests = RequestMetrics(registry)
        self.models = ModelMetrics(registry, self.requests)
        self.state = StateMetrics(registry)
        self.kept = KeptMetrics(registry)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' exposition format."""
        return generate_latest(self.registry)
