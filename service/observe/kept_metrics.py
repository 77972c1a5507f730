"""Metrics of the pictures that are kept."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from service.engine.kept import Eviction, KeptPictures
from service.observe.registry import Registry


class KeptMetrics:
    """Counts how often kept pictures are asked for, and why they are kept no longer (see `KeptObserver`)."""

    def __init__(self, registry: Registry) -> None:
        self._pictures = registry.make(Gauge, "kept_pictures", "Pictures that are kept now.")
        self._lookups = registry.make(
            Counter, "kept_lookups", "Times that a kept picture was asked for: hit or miss.", ("result",)
        )
        self._evictions = registry.make(
            Counter, "kept_evictions", "Pictures that are kept no longer, by why.", ("reason",)
        )

    def show(self, kept: KeptPictures) -> None:
        """Show from now on how many pictures are kept."""
        self._pictures.set_function(lambda: kept.count)

    def looked_up(self, found: bool) -> None:
        """Count a request for a kept picture."""
        self._lookups.labels("hit" if found else "miss").inc()

    def evicted(self, reason: Eviction) -> None:
        """Count a picture that is kept no longer."""
        self._evictions.labels(reason).inc()
