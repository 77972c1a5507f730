"""OpenTelemetry traces: a span a request, with its stages inside. Needs the extra `traces`.

Where spans go is said by OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import FastAPI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

STAGES = ("decode", "queue", "coarse", "refine", "encode")


@dataclass(frozen=True)
class Traces:
    """Of one app."""

    provider: TracerProvider

    @staticmethod
    def of(app: FastAPI, exporter: SpanExporter | None = None) -> Traces:
        """Instrument an app; spans go to the exporter, by default over OTLP."""
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "pointrend"}))
        provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        FastAPIInstrumentor.instrument_app(
            app, tracer_provider=provider, excluded_urls="healthz,readyz,metrics"
        )
        return Traces(provider)

    def answered(self, seconds: Mapping[str, float], model: str) -> None:
        """Spans of a request's stages, which follow each other and end now, under the request's own."""
        tracer = self.provider.get_tracer("pointrend")
        begin = time.time_ns() - int(1e9 * sum(seconds[stage] for stage in STAGES))
        for stage in STAGES:
            end = begin + int(1e9 * seconds[stage])
            tracer.start_span(stage, start_time=begin, attributes={"model": model}).end(end)
            begin = end

    def close(self) -> None:
        """Send what is left."""
        self.provider.shutdown()
