"""The pages for those who run the service."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from torch import Tensor

from export.golden import golden
from service.app import create_app
from service.http.problem_kinds import KINDS
from service.http.schemas.cards import ModelCard
from service.observe.access_log import LOGGER as ACCESS
from tests.service.support import Discs, disc_bundle, encoded, kill_device, picture, settings, wait_for


def test_not_ready_before_every_model_is_warm() -> None:
    first, second = Discs(), Discs()
    first.gate.set()
    with TestClient(create_app(settings(), [disc_bundle(first), disc_bundle(second, "slow")])) as client:
        wait_for(lambda: second.batches)
        answered = client.get("/readyz")
        assert answered.status_code == 503
        assert answered.json()["type"] == "/problems/starting"
        assert "slow" in answered.json()["detail"]
        assert client.get("/healthz").json() == {"status": "ok"}
        refused = client.post("/segment?model=slow", content=b"x", headers={"content-type": "image/png"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        second.gate.set()
        wait_for(lambda: client.get("/readyz").is_success)
        assert client.get("/readyz").json() == {"status": "ready"}
        capacity = settings().batch_budget // (64 * 128)
        assert first.batches == second.batches == [capacity, 1]  # the largest pass comes first


def test_a_model_that_fails_to_warm_up_is_never_ready(caplog: pytest.LogCaptureFixture) -> None:
    broken = disc_bundle(None, "broken")  # type: ignore[arg-type]
    with TestClient(create_app(settings(), [broken])) as client:
        wait_for(lambda: "broken failed to warm up" in caplog.text)
        assert client.get("/readyz").status_code == 503
        assert client.get("/models").json()[0]["ready"] is False


def test_a_model_that_sees_something_else_than_its_export_is_never_ready(
    caplog: pytest.LogCaptureFixture, discs: Discs
) -> None:
    good = disc_bundle(discs)
    recorded = golden("instance", good.predictor)
    for known, fine in ((recorded, True), (replace(recorded, score=recorded.score - 0.1), False)):
        model = replace(good.manifest.model, golden=known)
        bundle = replace(good, manifest=replace(good.manifest, model=model))
        with TestClient(create_app(settings(), [bundle])) as client:
            if fine:
                wait_for(lambda c=client: c.get("/readyz").is_success)
            else:
                wait_for(lambda: "does not see what its export saw" in caplog.text)
                assert client.get("/readyz").status_code == 503


def test_health_needs_the_workers(discs: Discs) -> None:
    client = TestClient(create_app(settings(), [disc_bundle(discs)]))  # not started: nothing serves
    answered = client.get("/healthz")
    assert (answered.status_code, answered.json()["type"]) == (503, "/problems/unhealthy")


def test_a_thread_that_died_twice_is_told_by_health(own_client: TestClient) -> None:
    png = {"content-type": "image/png"}
    kill_device()
    assert own_client.post("/segment", content=encoded(picture()), headers=png).is_success
    assert own_client.get("/healthz").is_success
    kill_device()
    for _ in range(2):
        answered = own_client.post("/segment", content=encoded(picture()), headers=png)
        assert (answered.status_code, answered.json()["type"]) == (503, "/problems/stopped")
    for page in ("/healthz", "/readyz"):
        assert own_client.get(page).json()["type"] == "/problems/unhealthy"
    assert 'pointrend_model_alive{model="discs"} 0.0' in own_client.get("/metrics").text


def test_a_full_device_gives_back_what_the_model_kept(discs: Discs) -> None:
    released: list[bool] = []

    def full(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if len(discs.batches) > 2 and not released:  # warm
            raise RuntimeError("CUDA failure 2: out of memory")
        return discs(inputs)

    good = disc_bundle(discs)
    predictor = replace(good.predictor, run=full)
    bundle = replace(good, predictor=predictor, release=lambda: released.append(True))
    with TestClient(create_app(settings(), [bundle])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        for _ in range(2):
            headers = {"content-type": "image/png"}
            assert client.post("/segment", content=encoded(picture()), headers=headers).is_success
    assert released == [True]


def test_models(client: TestClient, tiny_client: TestClient) -> None:
    (card,) = client.get("/models").json()
    ModelCard.model_validate(card)
    assert card["categories"] == [{"id": 1, "name": "disc"}, {"id": 7, "name": "ring"}]
    assert (card["sides"], card["providers"], card["ready"]) == ([28], ["Stub"], True)
    assert card["preprocessing"] == {"short_edge": 64, "long_edge": 128}
    assert tiny_client.get("/models").json()[0]["sides"] == [28, 56, 112, 224, 448, 896]


def test_the_first_model_is_the_default() -> None:
    both = Discs(), Discs()
    for each in both:
        each.gate.set()
    bundles = [disc_bundle(each, name) for each, name in zip(both, "ab", strict=True)]
    with TestClient(create_app(settings(), bundles)) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        for query, name in (("", "a"), ("?model=b", "b")):
            headers = {"content-type": "image/png"}
            answered = client.post(f"/segment{query}", content=encoded(picture()), headers=headers)
            assert answered.json()["model"] == name


def test_models_must_exist_and_differ(discs: Discs) -> None:
    with pytest.raises(ValueError, match="no model to serve"):
        create_app(settings(), [])
    with pytest.raises(ValueError, match="same name: discs"):
        create_app(settings(), [disc_bundle(discs), disc_bundle(discs)])


def test_metrics(own_client: TestClient) -> None:
    headers = {"content-type": "image/png"}
    own_client.post("/segment", content=encoded(picture()), headers=headers)
    own_client.post("/segment", content=b"no image", headers=headers)
    text = own_client.get("/metrics").text
    for line in (
        'pointrend_request_seconds_count{route="/segment",status="200"} 1.0',
        *(
            f'pointrend_stage_seconds_count{{model="discs",stage="{stage}"}} 1.0'
            for stage in ("decode", "queue", "coarse", "refine", "encode", "total")
        ),
        'pointrend_batch_images_count{model="discs"} 2.0',  # one of them the warm-up
        'pointrend_batches_total{model="discs",reason="idle"}',
        'pointrend_batch_pixels_total{kind="image",model="discs"}',
        'pointrend_batch_pixels_total{kind="padding",model="discs"}',
        'pointrend_instances_sum{model="discs"} 2.0',
        'pointrend_masks_total{model="discs",side="28"} 2.0',
        'pointrend_rejected_total{problem="not-an-image"} 1.0',
        "pointrend_requests_in_flight 1.0",  # the one for the metrics
        'pointrend_queue_requests{model="discs",stage="queue"} 0.0',
        "pointrend_queue_seconds 0.0",
        "pointrend_queue_limit_seconds 20.0",
        "pointrend_queue_fullness 0.0",
        'pointrend_model_alive{model="discs"} 1.0',
        'pointrend_model_ready{model="discs"} 1.0',
        'pointrend_model_info{checkpoint="",model="discs",providers="Stub",task="instance"} 1.0',
        "pointrend_threads 1.0",
        "process_resident_memory_bytes",
    ):
        assert line in text, line


def test_answers_carry_timings_and_safe_headers(client: TestClient) -> None:
    answered = client.post("/segment", content=encoded(picture()), headers={"content-type": "image/png"})
    stages = [part.partition(";")[0] for part in answered.headers["server-timing"].split(", ")]
    assert stages == ["decode", "queue", "coarse", "refine", "encode", "total"]
    for response in (answered, client.get("/docs"), client.get("/nowhere")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["referrer-policy"] == "no-referrer"
        policy = response.headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy)
        assert "access-control-allow-origin" not in response.headers


def test_the_access_log_is_json(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, ACCESS)
    headers = {"content-type": "image/png", "x-request-id": "mine", "x-api-key": "secret"}
    client.post("/segment?score=0.7", content=encoded(picture()), headers=headers)
    client.post("/segment?boxes=nonsense", content=encoded(picture()), headers=headers)
    good, bad = (json.loads(record.message) for record in caplog.records if record.name == ACCESS)
    assert (good["id"], good["method"], good["path"], good["status"]) == ("mine", "POST", "/segment", 200)
    assert (good["instances"], "coarse" in good["stages_ms"]) == (1, True)
    assert (bad["status"], bad["problem"]) == (422, "invalid-parameter")
    assert "secret" not in caplog.text


def test_probes_and_scrapes_are_counted_and_not_logged(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, ACCESS)
    probes = ("/v2/health/live", "/v2/health/ready", "/v2/models/discs/ready")
    pages = ("/healthz", "/readyz", *probes, "/metrics")

    def counted() -> list[float]:
        text = client.get("/metrics").text
        name = 'pointrend_request_seconds_count{{route="{}",status="200"}} '.format
        routes = (page.replace("discs", "{name}") for page in pages)
        return [float(text.partition(name(route))[2].partition("\n")[0] or 0) for route in routes]

    before = counted()
    for page in pages:
        for ask in (client.get, client.head):
            assert ask(page).is_success and ask(f"{page}/").is_success
    assert client.post("/readyz").status_code == 405
    assert client.get("/models").is_success
    lines = [json.loads(record.message) for record in caplog.records if record.name == ACCESS]
    assert [(line["method"], line["path"]) for line in lines] == [("POST", "/readyz"), ("GET", "/models")]
    assert [after - each for after, each in zip(counted(), before, strict=True)] == [4, 4, 4, 4, 4, 5]


def test_probes_that_fail_are_logged(discs: Discs, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, ACCESS)
    client = TestClient(create_app(settings(), [disc_bundle(discs)]))  # not started: nothing serves
    for page in ("/healthz", "/readyz"):
        assert client.get(page).status_code == 503
    lines = [json.loads(record.message) for record in caplog.records if record.name == ACCESS]
    assert [(line["path"], line["problem"]) for line in lines] == [
        ("/healthz", "unhealthy"),
        ("/readyz", "unhealthy"),
    ]


def test_home_is_the_page(client: TestClient) -> None:
    home = client.get("/")
    assert home.status_code == 200 and "<title>PointRend, served</title>" in home.text
    assert home.headers["cache-control"] == "no-cache"


def test_the_documentation_may_do_what_it_needs_and_no_more(client: TestClient) -> None:
    page = client.get("/docs", follow_redirects=False)
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    files = re.findall(r'<(?:script src|link type="text/css" rel="stylesheet" href)="([^"]+)"', page.text)
    assert len(files) == 2
    assert files == ["/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"]
    assert policy["script-src"].startswith("'self' 'sha256-") and policy["style-src"] == "'self'"
    for url, kind in zip(files, ("text/css", "text/javascript"), strict=True):
        for ask in (client.get, client.head):
            file = ask(url)
            assert file.headers["content-type"].startswith(kind)
            assert int(file.headers["content-length"]) > 100_000
    assert "://" not in page.text.replace("http://127.0.0.1", "")
    (script,) = re.findall("<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy["script-src"].split()
    assert "/openapi.json" in script
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert client.get("/redoc").status_code == 404  # it needs more than a policy should allow


def test_openapi_is_complete(client: TestClient) -> None:
    document: dict[str, Any] = client.get("/openapi.json").json()
    operation = document["paths"]["/segment"]["post"]
    assert {p["name"] for p in operation["parameters"]} == {
        "model", "resolution", "points", "score", "max_instances", "classes", "boxes", "deadline_ms", "format",
        "image_id", "explain", "keep", "kept", "instance", "crop",
    }  # fmt: skip
    assert all(p["description"] for p in operation["parameters"])
    assert set(operation["requestBody"]["content"]) >= {"multipart/form-data", "image/*"}
    assert {str(kind.status) for kind in KINDS.values()} - {"401", "404", "405"} <= set(
        operation["responses"]
    )
    assert set(operation["responses"]["422"]["content"]) == {"application/problem+json"}
    text = str(document)
    for name in set(document["components"]["schemas"]):
        assert f"#/components/schemas/{name}" in text, f"{name} is not used"
    for reference in text.split("#/components/schemas/")[1:]:
        assert reference.split("'")[0] in document["components"]["schemas"]


def test_every_metric_is_documented(client: TestClient) -> None:
    families = {
        line.split()[2]
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("# TYPE pointrend_")
    }
    documented = set(re.findall(r"^\| `(pointrend_\w+)`", Path("docs/metrics.md").read_text(), re.MULTILINE))
    assert {name for name in families if not name.endswith("_created")} == documented
