"""Traces, into memory."""

from __future__ import annotations

from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.app import create_app
from service.observe.traces import STAGES, Traces
from tests.service.support import Discs, disc_bundle, encoded, picture, settings, wait_for


def test_a_request_is_a_span_with_its_stages_inside(discs: Discs) -> None:
    memory = InMemorySpanExporter()
    app = create_app(settings(), [disc_bundle(discs)], Traces(memory))
    with TestClient(app) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        for probe in ("health/live", "health/ready", "models/discs/ready"):
            assert client.get(f"/v2/{probe}").is_success
        headers = {"content-type": "image/png"}
        assert client.post("/segment", content=encoded(picture()), headers=headers).status_code == 200
    spans = {span.name: span for span in memory.get_finished_spans()}
    request = spans["POST /segment"]
    assert request.context is not None
    assert "detector" not in spans  # the model has none
    for stage in set(STAGES) - {"detector"}:
        span = spans[stage]
        assert span.parent is not None
        assert span.parent.trace_id == request.context.trace_id
        assert span.attributes is not None
        assert span.attributes["model"] == "discs"
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time
    assert spans["encode"].end_time >= spans["decode"].end_time  # type: ignore[operator]
    assert not any("ready" in name or "health" in name for name in spans)


def test_without_the_setting_there_are_none(discs: Discs) -> None:
    with TestClient(create_app(settings(), [disc_bundle(discs)])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        assert "traceparent" not in client.get("/models").headers
