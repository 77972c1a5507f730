"""The Open Inference Protocol over HTTP: what its documents say, sent by hand."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from export.bundle import Bundle
from service.app import create_app
from service.engine.queue.admission import QueueFull
from service.http.health import FAILURES
from tests.service.support import POISON, Discs, disc_bundle, encoded, picture, settings, wait_for

PATH = "/v2/models/discs/infer"
IMAGE = encoded(picture())
TEXT = base64.b64encode(IMAGE).decode()
RAW = {"content-type": "image/png"}
LENGTH = "inference-header-content-length"


def body(image: str | None = TEXT, **members: Any) -> dict[str, Any]:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [image]}
    return {"inputs": [tensor], **members}


def error(answer: httpx.Response, status: int, part: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"] and part in answer.json()["error"]


def outputs(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {each["name"]: each for each in answer.json()["outputs"]}


def without_times(answer: Any) -> Any:
    return {name: value for name, value in answer.items() if name not in ("id", "timings_ms")}


def test_the_server_and_its_models_are_described(client: TestClient) -> None:
    server = client.get("/v2").json()
    assert server["name"] == "pointrend-served" and server["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/discs/ready").json() == {"name": "discs", "ready": True}
    model = client.get("/v2/models/discs").json()
    assert model["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [1]}]
    assert [(each["name"], each["datatype"], each["shape"]) for each in model["outputs"]] == [
        ("answer", "BYTES", [1]), ("boxes", "FP32", [-1, 4]), ("scores", "FP32", [-1]), ("classes", "BYTES", [-1]),
    ]  # fmt: skip
    assert client.head("/v2/health/ready").status_code == 200


def test_json_in_and_out(client: TestClient) -> None:
    parameters = {"score": 0.5, "resolution": "56"}
    answer = client.post(PATH, json=body(id="a1", parameters=parameters))
    assert (answer.json()["model_name"], answer.json()["id"]) == ("discs", "a1")
    assert LENGTH not in answer.headers and "total;dur=" in answer.headers["server-timing"]
    found = outputs(answer)
    wanted = client.post("/segment?score=0.5&resolution=56", content=IMAGE, headers=RAW).json()
    assert found["answer"]["parameters"] == {"content_type": "application/json"}
    assert without_times(json.loads(found["answer"]["data"][0])) == without_times(wanted)
    boxes = (each["bbox"] for each in wanted["instances"])
    corners = [corner for x, y, w, h in boxes for corner in (x, y, x + w, y + h)]
    assert found["boxes"]["shape"] == [2, 4] and found["boxes"]["data"] == corners
    assert found["scores"]["data"] == [each["score"] for each in wanted["instances"]]
    assert found["classes"]["data"] == ["disc", "ring"]


def test_binary_in_and_out(client: TestClient) -> None:
    data = len(IMAGE).to_bytes(4, "little") + IMAGE
    tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES"}
    tensor["parameters"] = {"binary_data_size": len(data)}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    answer = client.post(PATH, content=text + data, headers={LENGTH: str(len(text))})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers[LENGTH])
    found = {each["name"]: each for each in json.loads(answer.content[:length])["outputs"]}
    sizes = {name: each["parameters"]["binary_data_size"] for name, each in found.items()}
    assert list(sizes) == ["answer", "boxes", "scores", "classes"] and sizes["boxes"] == 32
    rest = answer.content[length:]
    assert len(rest) == sum(sizes.values())
    assert int.from_bytes(rest[:4], "little") == sizes["answer"] - 4
    assert len(json.loads(rest[4 : sizes["answer"]])["instances"]) == 2
    assert rest.endswith(b"\x04\0\0\0disc\x04\0\0\0ring")


def test_without_instances_tensors_are_empty(client: TestClient) -> None:
    black = base64.b64encode(encoded(picture(brightness=0))).decode()
    found = outputs(client.post(PATH, json=body(black)))
    assert [(found[name]["shape"], found[name]["data"]) for name in ("boxes", "scores", "classes")] == [
        ([0, 4], []), ([0], []), ([0], []),
    ]  # fmt: skip


def test_answers_that_are_no_json_come_as_text_or_in_base64(client: TestClient) -> None:
    def answer(format: str) -> Any:
        asked = body(parameters={"format": format}, outputs=[{"name": "answer"}])
        return outputs(client.post(PATH, json=asked))["answer"]

    def plain(format: str) -> bytes:
        return client.post(f"/segment?format={format}", content=IMAGE, headers=RAW).content

    yolo, cutout = answer("yolo"), answer("cutout")
    assert yolo["data"] == [plain("yolo").decode()] and "\n" in yolo["data"][0]
    assert yolo["parameters"]["content_type"] == "text/plain"
    assert base64.b64decode(cutout["data"][0]) == plain("cutout")
    assert cutout["parameters"]["content_type"] == "image/png"


def test_a_semantic_model_has_an_answer_alone(label_maps: Bundle) -> None:
    name = label_maps.manifest.name
    with TestClient(create_app(settings(), [label_maps])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        (output,) = client.get(f"/v2/models/{name}").json()["outputs"]
        assert output["name"] == "answer"
        found = outputs(client.post(f"/v2/models/{name}/infer", json=body()))
        assert list(found) == ["answer"]
        wanted = client.post("/segment", content=IMAGE, headers=RAW).json()
        assert without_times(json.loads(found["answer"]["data"][0])) == without_times(wanted)


def test_errors_have_the_protocol_s_form(client: TestClient) -> None:
    error(
        client.post(PATH, json=body(parameters={"colour": "red"})), 422, "colour: there is no such parameter"
    )
    error(client.post(PATH, json=body(parameters={"score": 2})), 422, "score")
    error(client.post(PATH, json=body(parameters={"model": "discs"})), 422, "model: is in the path")
    error(client.post(f"{PATH}?model=discs", json=body()), 422, "model: is in the path")
    error(client.post(f"{PATH}?kept=abc", json=body()), 422, "kept: is a parameter of POST /segment alone")
    error(client.post(f"{PATH}?score=1", json=body(parameters={"score": 1})), 422, "given twice")
    error(client.post("/v2/models/cats/infer", json=body()), 404, "no model 'cats'; loaded: discs")
    error(client.get("/v2/models/cats"), 404, "no model 'cats'")
    error(client.get("/v2/models/cats/ready"), 404, "no model 'cats'")
    error(client.get("/v2/models/discs/config"), 404, "Not Found")
    error(client.get(PATH), 405, "Method Not Allowed")
    error(client.post(PATH, content=b"x" * 200_001), 413, "at most 200000 bytes")
    error(client.post(PATH, content=b"{"), 400, "not JSON")
    error(client.post(PATH, json=body("AAAA")), 400, "JPEG, PNG")
    error(client.post(PATH, content=b"{}", headers={LENGTH: "two"}), 400, "must be a number of bytes")
    error(client.post(PATH, json=body(), headers={"content-encoding": "gzip"}), 415, "gzip")
    poison = picture()
    poison[:] = POISON
    poisoned = client.post(PATH, json=body(base64.b64encode(encoded(poison)).decode()))
    error(poisoned, 500, "unexpected error")


def test_a_full_queue_says_when_to_come_back(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise QueueFull(3)

    monkeypatch.setattr("service.engine.engine.Engine.check_room", full)
    refused = client.post(PATH, json=body())
    error(refused, 429, "")
    assert refused.headers["retry-after"] == "3"


def test_failures_of_inferences_make_the_service_unready(own_client: TestClient) -> None:
    poison = picture()
    poison[:] = POISON
    sent = body(base64.b64encode(encoded(poison)).decode())
    for _ in range(FAILURES):
        error(own_client.post(PATH, json=sent), 500, "unexpected error")
    error(own_client.get("/v2/health/ready"), 503, f"the last {FAILURES} requests failed")


def test_a_model_whose_worker_has_ended_is_not_starting(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.engine.Engine.alive", False)
    found = client.get("/v2/models/discs/ready")
    error(found, 503, "the worker of 'discs' is not running")
    assert "retry-after" not in found.headers


def test_a_key_is_needed_but_for_health(discs: Discs) -> None:
    with TestClient(create_app(settings(api_keys="secret"), [disc_bundle(discs)])) as client:
        wait_for(lambda: client.get("/v2/health/ready").is_success)
        for answer in (client.post(PATH, json=body()), client.get("/v2/models/discs")):
            error(answer, 401, "API key")
            assert answer.headers["www-authenticate"] == "Bearer"
        keyed = client.post(PATH, json=body(), headers={"authorization": "Bearer secret"})
        assert list(outputs(keyed)) == ["answer", "boxes", "scores", "classes"]


def test_a_model_that_warms_up_is_not_ready() -> None:
    discs = Discs()
    with TestClient(create_app(settings(), [disc_bundle(discs)])) as client:
        try:
            error(client.get("/v2/health/ready"), 503, "discs")
            error(client.get("/v2/models/discs/ready"), 503, "warming up")
            error(client.post(PATH, json=body()), 503, "warming up")
            assert client.get("/v2/health/live").is_success
        finally:
            discs.gate.set()


@pytest.mark.parametrize("keep", [0, 60])
def test_a_picture_may_be_kept(client: TestClient, keep: int) -> None:
    """The stub has no point head, so that nothing of it can be kept, and the refusal is that of /segment."""
    answer = client.post(PATH, json=body(parameters={"keep": keep}))
    if keep:
        error(answer, 422, "keep")
    else:
        assert answer.is_success
