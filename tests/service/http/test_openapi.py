"""What the OpenAPI document tells, and the pages that it leads to."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.problem_kinds import KINDS
from service.http.schemas.cards import ModelCard
from service.http.schemas.problems import ProblemExplanation
from tests.service.http.test_problems import check
from tests.service.support import Discs, disc_bundle, get, running, settings

METHODS = {"get", "post"}


def document(**changes: Any) -> dict[str, Any]:
    discs = Discs()
    discs.gate.set()
    with running(disc_bundle(discs), **changes) as url:
        found: dict[str, Any] = get(f"{url}/openapi.json").json()
        return found


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return document()


def operations(api: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: operation for path in api["paths"].values() for operation in path.values()
    }


def test_operations_have_plain_names_and_are_listed_once(api: dict[str, Any]) -> None:
    assert {method for path in api["paths"].values() for method in path} == METHODS
    assert set(operations(api)) == {
        "segment", "render", "hf_image_segmentation",
        "v2_server", "v2_live", "v2_ready", "v2_model", "v2_model_ready", "v2_infer",
        "list_models", "get_model", "explain_problem", "healthz", "readyz", "metrics",
    }  # fmt: skip
    assert all(operation["description"] for operation in operations(api).values())


def test_problems_are_listed_under_their_status_with_their_meaning(api: dict[str, Any]) -> None:
    listed: dict[str, set[str]] = {}
    for name, operation in operations(api).items():
        for status, response in operation["responses"].items():
            kinds = re.findall("`/problems/([a-z-]+)`", response["description"])
            assert {KINDS[kind].status for kind in kinds} <= {int(status)}
            assert all(KINDS[kind].meaning in response["description"] for kind in kinds)
            listed.setdefault(name, set()).update(kinds)
            of_protocol = name.startswith("v2_") and int(status) >= 400
            media_type = "application/json" if of_protocol else "application/problem+json"
            examples = response.get("content", {}).get(media_type, {}).get("examples", {})
            assert list(examples) == kinds
            for kind, example in examples.items():
                if of_protocol:
                    assert list(example["value"]) == ["error"]
                    continue
                assert example["value"]["type"] == f"/problems/{kind}"
                assert example["value"]["status"] == int(status)
    assert listed["segment"] == listed["hf_image_segmentation"] | {"not-kept"}
    assert listed["v2_infer"] == listed["hf_image_segmentation"] | {"not-found"}
    assert listed["segment"] == set(KINDS) - {
        "not-found",
        "method-not-allowed",
        "unauthorized",
        "not-fetched",
        "foreign-address",
    }
    assert listed["get_model"] == {"not-found"}


def test_keys_are_described_if_there_are_any(api: dict[str, Any]) -> None:
    assert "securitySchemes" not in api["components"]
    assert not [operation for operation in operations(api).values() if "security" in operation]
    with_keys = document(api_keys="key")
    schemes = with_keys["components"]["securitySchemes"]
    assert {(scheme["type"], scheme.get("scheme", scheme.get("name"))) for scheme in schemes.values()} == {
        ("http", "bearer"),
        ("apiKey", "X-API-Key"),
    }
    for name, operation in operations(with_keys).items():
        closed = name in {
            "segment", "render", "hf_image_segmentation", "list_models", "get_model",
            "v2_model", "v2_model_ready", "v2_infer",
        }  # fmt: skip
        assert operation.get("security", []) == ([{scheme: []} for scheme in schemes] if closed else [])
        assert ("401" in operation["responses"]) == closed


def test_the_form_has_every_parameter_and_examples(api: dict[str, Any]) -> None:
    segment = operations(api)["segment"]
    form = segment["requestBody"]["content"]["multipart/form-data"]
    fields = form["schema"]["properties"]
    parameters = {parameter["name"] for parameter in segment["parameters"]} - {"kept"}  # instead of the image
    assert set(fields) == {"image"} | parameters
    assert all(field["description"] and "anyOf" not in field for field in fields.values())
    assert form["examples"]
    for example in form["examples"].values():
        assert example["summary"] and set(example["value"]) <= set(fields)


def test_json_has_every_member_and_examples(api: dict[str, Any]) -> None:
    segment = operations(api)["segment"]
    body = segment["requestBody"]["content"]["application/json"]
    members = body["schema"]["properties"]
    parameters = {parameter["name"] for parameter in segment["parameters"]} - {"kept"}
    assert set(members) == {"image"} | parameters
    assert all(member["description"] for member in members.values())
    assert {"type": "integer", "minimum": 1} in members["resolution"]["anyOf"]
    for example in body["examples"].values():
        assert example["summary"] and set(example["value"]) <= set(members)


@pytest.mark.parametrize("kind", KINDS)
def test_problems_have_a_page(client: TestClient, kind: str) -> None:
    answered = client.get(f"/problems/{kind}")
    assert answered.status_code == 200
    found = ProblemExplanation.model_validate(answered.json())
    assert (found.type, found.status, found.title) == (
        f"/problems/{kind}",
        KINDS[kind].status,
        KINDS[kind].title,
    )
    assert found.meaning and found.remedy


def test_the_type_of_a_problem_leads_to_its_page(client: TestClient) -> None:
    refused = client.post("/segment", content=b"text", headers={"content-type": "image/png"})
    assert client.get(refused.json()["type"]).json()["title"] == refused.json()["title"]
    check(client.get("/problems/nonsense"), 404, "not-found", "'nonsense'", "not-an-image")


def test_one_model_is_told_in_full(client: TestClient) -> None:
    (card,) = client.get("/models").json()
    full = client.get("/models/discs").json()
    ModelCard.model_validate(full)
    assert "parity" not in card
    assert full == card | {"parity": full["parity"]}
    assert isinstance(full["parity"], dict)
    check(client.get("/models/cats"), 404, "not-found", "no model 'cats'", "loaded: discs")


def test_models_tell_the_limits_of_requests(discs: Discs) -> None:
    memory = {"decode_bytes": 60_000_000, "held_bytes": 70_000_000}
    memory |= {"render_bytes": 80_000_000, "encode_bytes": 90_000_000}
    changes = {"formats": "JPEG,PNG", "queue_seconds": 30, "max_pixels": 20_000, **memory}
    with TestClient(create_app(settings(**changes), [disc_bundle(discs)])) as client:
        assert client.get("/models").json()[0]["limits"] == {
            "max_pixels": 20_000,
            "max_body_bytes": 25_000_000,
            "formats": ["JPEG", "PNG"],
            **memory,
            "max_points": 4_000_000,
            "max_seconds": 15.0,
            "keep_bytes": 100_000_000,
            "keep_seconds": 300,
            "max_window_side": 2048,
        }
