"""`segment --url`, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

import service.cli.commands as cli
from pointrend_client import Retries
from pointrend_client.client import AsyncClient
from service.cli import remote as remote_module
from tests.service.support import Discs, disc_bundle, encoded, get, picture, running, wait_for

QUICK = Retries(seconds=0.05, connect_seconds=0.05, first_wait=0.01)


@pytest.fixture
def url(discs: Discs) -> Iterator[str]:
    with running(disc_bundle(discs), api_keys="key") as address:
        wait_for(lambda: get(f"{address}/readyz").is_success)
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(12):
        (images / f"{i:02}.png").write_bytes(encoded(picture(60 + i, 60)))
    return images


def segment(url: str, image: Path, out: Path, *more: str, key: str = "key") -> Result:
    given = ["segment", "--url", url, "--api-key", key, "--image", str(image), "--out", str(out), *more]
    return CliRunner().invoke(cli.app, given)


def test_a_folder_with_overlays(url: str, folder: Path) -> None:
    out, drawings = folder.parent / "out.json", folder.parent / "drawings"
    done = segment(url, folder, out, "--format", "coco", "--overlay", str(drawings))
    assert done.exit_code == 0, done.output
    assert [entry["image_id"] for entry in json.loads(out.read_text())] == [i // 2 + 1 for i in range(24)]
    assert "12 images: 12 answered, 24 instances, in" in done.stderr
    with Image.open(drawings / "03.jpg") as drawn:
        assert drawn.size == (63, 60)
        assert len(np.unique(np.asarray(drawn).reshape(-1, 3), axis=0)) > 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--model", "cats"), "--model: the server has no model 'cats'; it has discs"),
        (("--classes", "cat"), "'cat'"),
        (("--format", "png"), "of instance models must be one of"),
        (("--resolution", "300"), "native or one of 28"),
    ],
)
def test_what_the_model_does_not_allow_is_refused_before_any_image(
    more: tuple[str, ...], said: str, url: str, folder: Path
) -> None:
    done = segment(url, folder, folder.parent / "out", *more)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr


def test_a_wrong_key_is_told_once(url: str, folder: Path) -> None:
    done = segment(url, folder, folder.parent / "out.json", key="other")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "401" in done.stderr


def test_nobody_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "AsyncClient", partial(AsyncClient, retries=QUICK))
    done = segment("http://127.0.0.1:9", folder, folder.parent / "out.json")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: no connection to http://127.0.0.1:9: connection refused")


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "http://host:port"])
def test_an_address_that_cannot_be_used(address: str, folder: Path) -> None:
    done = segment(address, folder, folder.parent / "out.json")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: --url: the address")


def test_a_server_that_goes_away_ends_the_folder_and_a_later_run_goes_on(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the third image on nobody answers."""
    out = folder.parent / "out.json"
    monkeypatch.setattr(remote_module, "AsyncClient", partial(AsyncClient, retries=QUICK))
    monkeypatch.setattr(remote_module, "CONCURRENCY", 1)
    real, posted = AsyncClient.post, list[object]()

    async def post(self: AsyncClient, image: bytes, **parameters: object) -> httpx.Response:
        posted.append(parameters["image_id"])
        if len(posted) > 2:
            raise remote_module.Unavailable("no connection")
        return await real(self, image, **parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(AsyncClient, "post", post)
    done = segment(url, folder, out)
    assert done.exit_code == 1 and not out.exists()
    assert len(posted) == 2 + remote_module.GIVEN_UP
    assert done.stderr.splitlines()[-1] == "error: the server answers no more: no connection"
    assert "2 of 12 images are done: the same command with --resume goes on" in done.stderr
    monkeypatch.setattr(AsyncClient, "post", real)
    done = segment(url, folder, out, "--resume")
    assert done.exit_code == 0, done.output
    assert "10 answered, 2 by an earlier run" in done.stderr
    assert [each["id"] is not None for each in json.loads(out.read_text())] == [True] * 12
