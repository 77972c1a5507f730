"""Metrics of HTTP requests, whatever they ask for."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from service.observe.registry import SECONDS, Registry


class RequestMetrics:
    """Counts requests, how long they take and how they end.

    `lost` is the number of requests that the server cancelled before their answer was complete, because it had to end.
    """

    def __init__(self, registry: Registry) -> None:
        self.lost = 0
        self._seconds = registry.make(
            Histogram,
            "request_seconds",
            "From the first byte of a request to the last byte of its answer.",
            ("route", "status"),
            buckets=SECONDS,
        )
        self._first_mask = registry.make(
            Histogram,
            "first_mask_seconds",
            "From a complete request to the first line of its stream, its first masks.",
            ("model",),
            buckets=SECONDS,
        )
        self._in_flight = registry.make(
            Gauge, "requests_in_flight", "Requests that have not been answered yet."
        )
        self._rejected = registry.make(
            Counter, "rejected", "Requests that were answered with a problem.", ("problem",)
        )
        self._cancelled = registry.make(
            Counter, "cancelled", "Requests whose client left, by the stage they were in.", ("stage",)
        )

    def first_mask(self, model: str, seconds: float) -> None:
        """Count a stream, whose first line is ready so many seconds after the request was complete."""
        self._first_mask.labels(model).observe(seconds)

    def begun(self) -> None:
        """Count a request that has arrived."""
        self._in_flight.inc()

    def ended(self, route: str, status: str, seconds: float) -> None:
        """Count a request that has ended, with its status or the name of its end, and the seconds that it took."""
        self._in_flight.dec()
        self._seconds.labels(route, status).observe(seconds)

    def rejected(self, problem: str) -> None:
        """Count a request that is answered with this kind of problem."""
        self._rejected.labels(problem).inc()

    def left(self, stage: str) -> None:
        """Count a request whose client left in this stage."""
        self._cancelled.labels(stage).inc()
