"""What a request will take is known from its header, and refused if it is more than one may have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from model.predict.forecast import forecast
from model.predict.headers import read_header
from model.predict.image_errors import TooManyPixels, TooMuchMemory, UnsupportedFormat
from model.predict.instance import InstanceOptions
from model.predict.predictor import Prompt
from service.app import create_app
from service.engine.errors import TooCostly
from service.engine.queue.cost import CostModel
from service.engine.queue.intake import EngineConfig, Intake
from service.engine.request import Request
from service.engine.tasks.instance import InstanceTask
from tests.service.support import PIXELS, Discs, disc_bundle, encoded, picture, settings, wait_for

PNG = encoded(picture(400, 200))


def intake(discs: Discs, **config: Any) -> Intake:
    task = InstanceTask(disc_bundle(discs))
    return Intake(
        EngineConfig(**{"max_pixels": 10**6, "max_points": 10**6, **config}), task, CostModel(task), PIXELS
    )


def asked(image: bytes = PNG) -> Request:
    return Request("a", image, InstanceOptions())


def test_a_plan_says_what_a_request_will_take(discs: Discs) -> None:
    made, request = intake(discs, decode_seconds=7.0), asked()
    job = made.plan(request, made.read(request.image))
    expected = forecast(read_header(PNG), (64, 128))
    assert (job.size, job.bytes, job.seconds, job.wall) == ((64, 128), expected.bytes, expected.seconds, 7.0)
    assert (request.width, request.height, request.padded) == (400, 200, (64, 128))
    assert request.coarse_cost == made.costs.coarse(64 * 128)
    assert request.cost > request.coarse_cost + expected.seconds
    assert made.largest_input == 64 * 128


def test_what_may_not_be_decoded_is_refused_by_its_header(discs: Discs) -> None:
    with pytest.raises(TooManyPixels, match="400 × 200 = 80000 pixels; at most 79999"):
        intake(discs, max_pixels=79_999).read(PNG)
    with pytest.raises(UnsupportedFormat, match="use a JPEG or GIF image"):
        intake(discs, formats=("JPEG", "GIF")).read(PNG)
    made = intake(discs, decode_bytes=1_000_000)
    with pytest.raises(TooMuchMemory, match="PNG image may take .* and 1000000 are allowed"):
        made.plan(asked(), made.read(PNG))


def test_a_request_that_takes_too_long_is_refused_even_if_it_is_alone(discs: Discs) -> None:
    made, request = intake(discs, most_seconds=0.001), asked()
    made.plan(request, made.read(PNG))
    with pytest.raises(TooCostly, match="and 0.001 s are allowed: lower resolution"):
        made.check_cost(request)


def test_a_request_is_large_by_its_image_or_by_its_masks(discs: Discs) -> None:
    made = intake(discs, max_pixels=10**8, most_seconds=10.0)
    large_image, many_masks = asked(encoded(picture(6000, 5000))), asked()
    many_masks.options = InstanceOptions(896, prompts=(Prompt((0, 0, 9, 9)),) * 500)
    for request, large in ((asked(), False), (large_image, True), (many_masks, True)):
        made.plan(request, made.read(request.image))
        assert made.is_large(request) is large
        assert replace(made, config=EngineConfig(10**8, 10**6)).is_large(request) is False  # nobody waits


def test_a_busy_machine_does_not_make_requests_too_costly(discs: Discs) -> None:
    made, request = intake(discs, most_seconds=2.0), asked()
    for seconds in (0.01, 9.0, 9.0, 9.0):
        made.costs.pixel.add(64 * 128, seconds)
    made.plan(request, made.read(PNG))
    assert request.cost > 2.0
    made.check_cost(request)


def test_over_http_it_is_a_413(discs: Discs) -> None:
    with TestClient(create_app(settings(decode_bytes=50_000_000), [disc_bundle(discs)])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        large = encoded(picture(4000, 4000))
        refused = client.post("/segment", content=large, headers={"content-type": "image/png"})
        assert (refused.status_code, refused.json()["type"]) == (413, "/problems/too-much-memory")


def test_a_queue_that_is_too_short_for_any_request_is_told(
    discs: Discs, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(settings(queue_seconds=1e-6), [disc_bundle(discs)])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        refused = client.post("/segment", content=PNG, headers={"content-type": "image/png"})
        assert (refused.status_code, refused.json()["type"]) == (413, "/problems/too-costly")
    assert "queue_seconds: a request to discs may take 0.00 s" in caplog.text


def test_a_service_that_takes_no_png_becomes_ready(discs: Discs) -> None:
    """Its own golden picture is one."""
    with TestClient(create_app(settings(formats="JPEG", max_pixels=100), [disc_bundle(discs)])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        refused = client.post("/segment", content=PNG, headers={"content-type": "image/png"})
        assert (refused.status_code, refused.json()["type"]) == (415, "/problems/unsupported-format")
