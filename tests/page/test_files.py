"""The page's files and how they are served; no browser."""

from __future__ import annotations

import json
import re
import tomllib
from fnmatch import fnmatch
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from bench.page.record import PICTURE, RECORDED, record
from service.app import create_app
from service.http.routes.page import POLICY
from service.http.wire.proxies import TRUSTED, BehindProxies
from service.page.files import FOLDER, page_files
from tests.paths import ROOT
from tests.service.support import Discs, disc_bundle, settings, tiny_bundle

BUDGET = 150_000  # bytes of the page with its scripts and styles
REFERENCE = re.compile(r"""(?:href|src|from|import)[= (]*["']([^"']+)["']""")


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(settings(), [disc_bundle(Discs())])


@pytest.fixture(scope="module")
def client(app: FastAPI) -> TestClient:
    """Return a client of an app that is not started, because the page needs no model."""
    return TestClient(app)


def test_the_page_is_served_under_a_strict_policy(client: TestClient) -> None:
    page = client.get("/")
    assert page.is_success and page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == POLICY
    assert POLICY.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in POLICY and page.headers["cache-control"] == "no-cache"
    head = client.head("/")
    assert head.is_success and head.headers["etag"] == page.headers["etag"]
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on[a-z]+=", page.text)


def test_an_unchanged_file_is_not_sent_again(client: TestClient) -> None:
    script = client.get("/page/script/main.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    tag = script.headers["etag"]
    known = client.get("/page/script/main.js", headers={"if-none-match": f'"other", W/{tag}'})
    assert known.status_code == 304 and not known.content and known.headers["etag"] == tag
    assert client.get("/page/script/main.js", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("name", ["none.js", "record.py", "../files.py", "%2e%2e/files.py", ""])
def test_nothing_else_is_served(name: str, client: TestClient) -> None:
    answer = client.get(f"/page/{name}")
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"


def test_without_the_page_the_root_leads_to_the_documentation() -> None:
    client = TestClient(create_app(settings(page=False), [disc_bundle(Discs())]))
    assert client.get("/", follow_redirects=False).headers["location"] == "docs"
    assert client.get("/page/script/main.js").status_code == 404


def test_an_address_without_its_final_slash_is_mended(app: FastAPI) -> None:
    client = TestClient(BehindProxies(app, TRUSTED, "/vision"))
    assert client.get("/vision", follow_redirects=False).headers["location"] == "/vision/"
    assert client.get("/vision/").is_success and client.get("/vision/page/icon.svg").is_success


def test_everything_that_a_file_refers_to_is_there_and_below_the_page() -> None:
    files = page_files()
    for name in files:
        if name.endswith((".html", ".js", ".css")):
            base = "/" if name == "index.html" else f"/page/{name}"
            for found in REFERENCE.findall(files[name].content.decode()):
                assert not found.startswith(("/", "http")), f"{name} refers to {found}, which is not relative"
                target = urljoin(base, found)
                assert target == "/docs" or target.removeprefix("/page/") in files, (
                    f"{name} refers to {found}"
                )


def test_the_page_is_small_and_a_package_has_all_of_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["service"]
    files = page_files()
    assert sum(len(file.content) for name, file in files.items() if not name.startswith("example/")) < BUDGET
    for name in files:
        assert any(fnmatch(f"page/{name}", pattern) for pattern in patterns), name


def test_files_and_folders_are_small() -> None:
    found = [FOLDER / name for name in page_files()]
    for path in found:
        assert len(list(path.parent.glob("*.*"))) <= 16
        if path.suffix in (".js", ".css", ".html"):
            assert len(path.read_text().splitlines()) <= 250, path


def test_the_recorded_answer_has_every_level_with_its_points() -> None:
    lines = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    assert [line.get("side") for line in lines] == [28, 56, 112, 224, 448, None]
    (instance,) = lines[-1]["instances"]
    assert instance["category"] == "person" and instance["resolution"] == 896
    assert [level["side"] for level in instance["explain"]["levels"]] == [28, 56, 112, 224, 448, 896]
    assert PICTURE.read_bytes() == (ROOT / "examples" / PICTURE.name).read_bytes()


def test_recording() -> None:
    answer = record(create_app(settings(), [tiny_bundle()]), PICTURE)
    *levels, done = [json.loads(line) for line in answer.splitlines()]
    assert levels and all(line["event"] == "level" for line in levels)
    assert done["event"] == "done" and done["model"] == "tiny"
