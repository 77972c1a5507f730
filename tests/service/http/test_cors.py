"""Web pages of other origins: none unless they are named, and those may read refusals too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.engine.queue.admission import QueueFull
from tests.service.support import Discs, disc_bundle, encoded, picture, settings, wait_for

PAGE = "https://app.example"
PNG = {"content-type": "image/png", "origin": PAGE}
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, content-type, x-api-key, x-request-id",
}


@pytest.fixture
def client(discs: Discs) -> Iterator[TestClient]:
    allowed = settings(
        cors_origins=f"{PAGE}, http://127.0.0.1:8080", api_keys="key", queue_length=1, max_body_bytes=5000
    )
    with TestClient(create_app(allowed, [disc_bundle(discs)]), raise_server_exceptions=False) as found:
        wait_for(lambda: found.get("/readyz").is_success)
        yield found


def test_without_the_setting_there_is_nothing(discs: Discs) -> None:
    with TestClient(create_app(settings(), [disc_bundle(discs)])) as client:
        for answered in (client.options("/segment", headers=PREFLIGHT), client.get("/healthz", headers=PNG)):
            assert not [name for name in answered.headers if name.startswith("access-control")]


def test_a_preflight_needs_no_key(client: TestClient) -> None:
    answered = client.options("/segment", headers=PREFLIGHT)
    assert answered.status_code == 200
    assert answered.headers["access-control-allow-origin"] == PAGE
    assert "access-control-allow-credentials" not in answered.headers
    stranger = client.options("/segment", headers=PREFLIGHT | {"origin": "https://other.example"})
    assert stranger.status_code == 400
    assert "access-control-allow-origin" not in stranger.headers


def test_answers_and_refusals_can_be_read(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    keyed = PNG | {"x-api-key": "key"}
    good = encoded(picture())
    answers = [
        client.post("/segment", content=good, headers=keyed),
        client.post("/segment", content=good, headers=PNG),
        client.post("/segment", content=bytes(6000), headers=keyed),
    ]
    monkeypatch.setattr("service.engine.engine.Engine.check_room", _full)
    answers.append(client.post("/segment", content=good, headers=keyed))
    monkeypatch.setattr("service.engine.engine.Engine.check_room", _broken)
    answers.append(client.post("/segment", content=good, headers=keyed))
    assert [answered.status_code for answered in answers] == [200, 401, 413, 429, 500]
    for answered in answers:
        assert answered.headers["access-control-allow-origin"] == PAGE
        assert "origin" in answered.headers["vary"].lower()
        exposed = answered.headers["access-control-expose-headers"].lower()
        assert {"x-request-id", "retry-after", "server-timing"} <= set(exposed.split(", "))
    stranger = client.post("/segment", content=good, headers=keyed | {"origin": "https://other.example"})
    assert "access-control-allow-origin" not in stranger.headers


def _full(_: object) -> None:
    raise QueueFull(3)


def _broken(_: object) -> None:
    raise RuntimeError("it tripped")


@pytest.mark.parametrize("value", ["https://app.example/", "app.example", "https://App.example", "null"])
def test_origins_that_could_never_match_are_a_mistake(value: str) -> None:
    with pytest.raises(ValueError, match="an origin is"):
        settings(cors_origins=value)
    assert settings(cors_origins="*").cors_origins == ("*",)
