"""OpenTelemetry traces: a span for each request, with a span for each of its stages inside. Needs the extra `traces`.

OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT, say where spans are sent.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import FastAPI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Tracer

from service.engine.device.batching import Reason
from service.engine.request import Request, Stage

STAGES = ("decode", "queue", "detector", "coarse", "refine", "encode")  # "detector": of some models


class Traces:
    """The traces of one app. Spans go to the exporter, by default over OTLP."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "pointrend"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))

    def instrument(self, app: FastAPI) -> None:
        """Give every request of the app a span, but for those that look after the service."""
        FastAPIInstrumentor.instrument_app(
            app,
            tracer_provider=self._provider,
            excluded_urls="healthz,readyz,metrics,v2/health/,v2/models/[^/]+/ready",
        )

    def of(self, model: str) -> StageSpans:
        """Return the observer of this model's engine."""
        return StageSpans(self._provider.get_tracer("pointrend"), model)

    def close(self) -> None:
        """Send what has not been sent yet. This blocks."""
        self._provider.shutdown()


@dataclass(frozen=True)
class StageSpans:
    """Makes spans of the stages of each answered request (service/engine/observer.py)."""

    tracer: Tracer
    model: str

    def answered(self, request: Request) -> None:
        """Make spans that follow each other and end now, inside the request's own span, which is the current one."""
        seconds = request.answer.seconds
        stages = [stage for stage in STAGES if stage in seconds]
        begin = time.time_ns() - int(1e9 * sum(seconds[stage] for stage in stages))
        for stage in stages:
            end = begin + int(1e9 * seconds[stage])
            self.tracer.start_span(stage, start_time=begin, attributes={"model": self.model}).end(end)
            begin = end

    def passed(self, requests: Sequence[Request], reason: Reason, seconds: float) -> None:
        """Do nothing: the answer tells how long the pass took."""

    def advanced(self, points: Mapping[int, int], seconds: float) -> None:
        """Do nothing: steps are shared by requests."""

    def left(self, stage: Stage) -> None:
        """Do nothing: the request's own span ends."""
