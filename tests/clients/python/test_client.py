"""The Python client and `segment --url`, against a real server."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import get_type_hints

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

import service.cli.commands as cli
from pointrend_client import AsyncClient, Client, Refused, Retries, Unavailable
from pointrend_client import client as client_module
from pointrend_client.parameters import Parameters
from service.http.query.parameters import SegmentQuery
from tests.service.http.test_server import waiting
from tests.service.support import Discs, disc_bundle, encoded, get, picture, running, wait_for

GOOD = encoded(picture())
QUICK = Retries(seconds=5, connect_seconds=0.05, first_wait=0.01)


@pytest.fixture
def url(discs: Discs) -> Iterator[str]:
    with running(disc_bundle(discs), api_keys="key", queue_length=2) as address:
        wait_for(lambda: get(f"{address}/readyz").is_success)
        yield address


def test_an_answer_with_masks(url: str, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(GOOD)
    with Client(url, api_key="key") as client:
        for image in (GOOD, file, str(file)):
            found = client.segment(image, score=0.0)
            assert (found.model, found.width, found.height, found.degraded) == ("discs", 120, 80, False)
            disc, ring = found.instances
            assert (disc.category, ring.category, disc.resolution, disc.truncated) == (
                "disc",
                "ring",
                28,
                False,
            )
            assert disc.mask.shape == (80, 120)
            assert disc.mask.sum() == disc.area > ring.mask.sum() > 0
            assert found.masks().shape == (2, 80, 120)
        assert len(client.segment(GOOD, score=0.7).instances) == 1
        assert client.post(GOOD, format="coco", image_id=7).json()[0]["image_id"] == 7


def test_a_cut_out(url: str) -> None:
    with Client(url, api_key="key") as client:
        found, ring = client.segment(GOOD), client.cutout(GOOD, instance=1, crop=True)
        whole = client.cutout(GOOD)
        assert (whole.mode, whole.size) == ("RGBA", (120, 80))
        assert np.mean((np.array(whole)[..., 3] >= 128) == found.masks().any(0)) > 0.98
        assert ring.size < whole.size
        with pytest.raises(Refused, match="0 to 1 are allowed, got 2"):
            client.cutout(GOOD, instance=2)

    async def asked() -> None:
        async with AsyncClient(url, api_key="key") as client:
            assert (await client.cutout(GOOD)).tobytes() == whole.tobytes()

    asyncio.run(asked())


def test_an_image_of_nothing(url: str) -> None:
    with Client(url, api_key="key") as client:
        found = client.segment(encoded(picture(brightness=0)))
    assert (found.instances, found.masks().shape) == ((), (0, 80, 120))
    assert len(found.detections()) == 0


def test_detections_for_supervision(url: str) -> None:
    with Client(url, api_key="key") as client:
        found = client.segment(GOOD)
    detections = found.detections()
    assert detections.xyxy.tolist() == [[30, 20, 90, 60]] * 2
    assert detections.class_id is not None
    assert detections.class_id.tolist() == [1, 7]
    assert detections.data["class_name"].tolist() == ["disc", "ring"]
    assert detections.mask is not None
    assert np.array_equal(detections.mask, found.masks())


def test_async(url: str) -> None:
    async def several() -> list[int]:
        async with AsyncClient(url, api_key="key") as client:
            found = await asyncio.gather(*(client.segment(GOOD) for _ in range(6)))
            return [len(each.instances) for each in found]

    assert asyncio.run(several()) == [2] * 6


def test_as_many_boxes_as_are_allowed(url: str) -> None:
    """Too many for a URL."""
    boxes = [[1.5, 1, 60 + i / 100, 60, "ring"] for i in range(1000)]
    with Client(url, api_key="key") as client:
        found = client.segment(GOOD, boxes=boxes, resolution=28)
    assert len(found.instances) == 1000
    assert {instance.category for instance in found.instances} == {"ring"}


def test_what_cannot_work_is_not_tried_again(url: str) -> None:
    with Client(url, api_key="key") as client:
        with pytest.raises(Refused, match="400: the content is not an image") as caught:
            client.segment(b"no image")
        assert caught.value.problem["type"] == "/problems/not-an-image"
        with pytest.raises(Refused, match="422: score"):
            client.segment(GOOD, score=7)
    with Client(url) as client, pytest.raises(Refused, match="401"):
        client.segment(GOOD)


def test_a_full_queue_is_waited_for_as_long_as_it_says(
    url: str, discs: Discs, monkeypatch: pytest.MonkeyPatch
) -> None:
    discs.gate.clear()
    inside = []

    def stay() -> None:
        with Client(url, api_key="key") as client:
            inside.append(client.segment(GOOD))

    threads = [threading.Thread(target=stay) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for(lambda: waiting(url, "coarse") + waiting(url, "queue") == 2)
    once = Retries(seconds=0)
    with (
        Client(url, api_key="key", retries=once) as client,
        pytest.raises(Unavailable, match="429: the queue"),
    ):
        client.segment(GOOD)
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        discs.gate.set()
        for thread in threads:
            thread.join()

    monkeypatch.setattr(client_module, "time", SimpleNamespace(sleep=sleep))
    with Client(url, api_key="key", retries=QUICK) as client:
        assert len(client.segment(GOOD).instances) == 2
    assert len(inside) == 2
    assert len(waits) == 1
    assert waits[0] >= 1  # what Retry-After says, and not the 0.01 s of its own


def test_nobody_there() -> None:
    with (
        Client("http://127.0.0.1:9", retries=QUICK) as client,
        pytest.raises(Unavailable, match="no connection to http://127.0.0.1:9: connection refused"),
    ):
        client.segment(GOOD)


def test_a_500_is_final_only_if_the_service_said_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands before it says so in its own words when a replica has died."""
    problem = {"type": "/problems/internal", "detail": "it tripped"}
    answers = iter([httpx.Response(500, text="The actor died."), httpx.Response(500, json=problem)])
    with Client("http://replicas", retries=QUICK) as client:
        transport = httpx.MockTransport(lambda _: next(answers))
        monkeypatch.setattr(client, "_http", httpx.Client(transport=transport, base_url="http://replicas"))
        with pytest.raises(Refused, match="500: it tripped"):
            client.segment(GOOD)


def test_every_parameter_of_the_service_is_typed_and_no_other() -> None:
    # `kept` stands for the image: `KeptImage`.
    assert set(get_type_hints(Parameters)) == set(SegmentQuery.model_fields) - {"kept"}


@pytest.mark.slow
def test_mypy_finds_a_parameter_that_is_misspelt_or_of_another_type(tmp_path: Path) -> None:
    """It reads all of numpy and httpx first."""
    code = tmp_path / "asks.py"
    code.write_text(
        "from pointrend_client import AsyncClient, Client\n"
        "async def ask(client: Client, other: AsyncClient) -> None:\n"
        "    client.segment(b'', resolution=224, boxes=[[0, 0, 9, 9.5, 'person']], classes=['person'])\n"
        "    client.label_map(b'', resolution='native'); client.post(b'', format='coco', image_id=1)\n"
        "    client.segment(b'', resolutoin=224)\n"
        "    client.segment(b'', score='high')\n"
        "    client.label_map(b'', score=0.5)\n"
        "    await other.segment(b'', deadline=100)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(code)]
    found = subprocess.run([*command, f"--cache-dir={tmp_path}"], capture_output=True, text=True, check=False)
    assert re.findall(r"asks\.py:(\d+): error", found.stdout) == ["5", "6", "7", "8"], found.stdout


def test_a_folder_through_a_server(url: str, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name, data in (("b.png", GOOD), ("a.png", GOOD), ("c.png", b"no image")):
        (images / name).write_bytes(data)
    out = tmp_path / "out.json"
    command = ["segment", "--url", url, "--api-key", "key", "--image", str(images), "--out", str(out)]
    done = CliRunner().invoke(cli.app, [*command, "--format", "coco"])
    assert done.exit_code == 1, done.output
    assert "skipped c.png: 400: the content is not an image" in done.output
    assert [result["image_id"] for result in json.loads(out.read_text())] == [1, 1, 2, 2]
    single = CliRunner().invoke(cli.app, [*command[:5], "--image", str(images / "a.png"), "--out", str(out)])
    assert single.exit_code == 0, single.output
    assert len(json.loads(out.read_text())["instances"]) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "either --bundle or --url"),
        (["--url", "http://127.0.0.1:9", "--bundle", "b"], "either --bundle or --url"),
        (["--bundle", "b", "--model", "people"], "--model goes with --url"),
    ],
)
def test_impossible_commands(more: list[str], message: str, tmp_path: Path) -> None:
    command = ["segment", "--image", "a.png", "--out", str(tmp_path / "out.json"), *more]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 2
    assert message in done.output
