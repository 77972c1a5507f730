"""How this service's metrics are made: all with one prefix, all in the registry of one app."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

M = TypeVar("M", bound=MetricWrapperBase)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, eq=False)
class Registry:
    """The metrics of one app."""

    collected: CollectorRegistry = field(default_factory=CollectorRegistry)

    def make(
        self, kind: Callable[..., M], name: str, text: str, labels: Iterable[str] = (), **options: object
    ) -> M:
        """Return a new metric `pointrend_{name}` of a class of prometheus_client."""
        return kind(f"pointrend_{name}", text, labels, registry=self.collected, **options)
