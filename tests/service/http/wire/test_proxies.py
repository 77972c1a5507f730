"""Below a path: what a proxy strips or leaves, and which proxies are believed."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from service.http.wire.proxies import TRUSTED, BehindProxies
from tests.service.http.test_problems import PNG
from tests.service.support import Discs, disc_bundle, running


def seen(
    path: str, *, client: str = "127.0.0.1", root: str = "", trusted: str = TRUSTED, **headers: str
) -> Any:
    """Return root path, path and client that the app sees."""
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http", "path": path, "root_path": "", "client": (client, 1), "headers": sent, "scheme": "http",
    }  # fmt: skip
    asyncio.run(BehindProxies(app, trusted, root)(scope, None, None))  # type: ignore[arg-type]
    (found,) = scopes
    return found["root_path"], found["path"], found["client"][0]


@pytest.mark.parametrize("path", ["/docs", "/vision/docs"])
@pytest.mark.parametrize("client", ["127.0.0.1", "192.0.2.1"])
def test_a_setting_holds_for_everybody(path: str, client: str) -> None:
    assert seen(path, client=client, root="/vision") == ("/vision", "/vision/docs", client)


@pytest.mark.parametrize("path", ["/docs", "/vision/docs"])
def test_a_trusted_proxy_names_the_prefix(path: str) -> None:
    below = ("/vision", "/vision/docs", "192.0.2.9")
    headers = {"x_forwarded_prefix": "/vision", "x_forwarded_for": "192.0.2.9"}
    assert seen(path, **headers) == below
    assert seen(path, **headers, root="/other") == below
    assert seen(path, **headers, client="::1") == below
    assert seen(path, **headers, client="10.1.2.3", trusted="10.0.0.0/8") == below
    assert seen(path, **headers, client="10.1.2.3", trusted="*") == below
    headers["x_forwarded_prefix"] += "/"
    assert seen(path, **headers) == below


def test_nobody_else_is_believed() -> None:
    headers = {"x_forwarded_prefix": "/vision", "x_forwarded_for": "192.0.2.9"}
    assert seen("/docs", **headers, client="10.1.2.3") == ("", "/docs", "10.1.2.3")
    assert seen("/docs", **headers, client="10.1.2.3", root="/own") == ("/own", "/own/docs", "10.1.2.3")


@pytest.mark.parametrize(
    "prefix",
    ["vision", "//evil.example", "/a/../b", "/..", '/"><script>', "/%2e", "/a b", "/", "", "/ä", "/a" * 17],
)
def test_what_is_no_path_is_ignored(prefix: str) -> None:
    assert seen("/docs", x_forwarded_prefix=prefix) == ("", "/docs", "127.0.0.1")


def test_a_path_that_only_begins_like_the_prefix_is_not_below_it() -> None:
    assert seen("/visionary", root="/vision") == ("/vision", "/vision/visionary", "127.0.0.1")
    assert seen("/vision", root="/vision") == ("/vision", "/vision", "127.0.0.1")


def test_every_page_and_problem_below_a_path(discs: Discs) -> None:
    with running(disc_bundle(discs), root_path="/vision/") as url, httpx.Client(base_url=url) as client:
        for below in ("", "/vision"):
            for page in ("docs", "docs/", "openapi.json", "readyz", "models", "metrics"):
                assert client.get(f"{below}/{page}").is_success, (below, page)
            problem = client.post(f"{below}/segment", content=b"no image", headers=PNG).json()
            assert problem["type"] == "/vision/problems/not-an-image"
            assert client.get(problem["type"]).json()["type"] == problem["type"]
        for home in ("/", "/vision/"):
            assert "<title>PointRend, served</title>" in client.get(home).text
        answer = client.get("/vision")  # its addresses are relative to the folder
        assert (answer.status_code, answer.headers["location"]) == (307, "/vision/")
        assert '"/vision/openapi.json"' in client.get("/docs").text.replace("'", '"')
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/vision"}]
        # What cannot be read has no path, but its problem has an address as well.
        broken = client.get("/docs", headers=[("x", "y")] * 101)
        assert broken.json()["type"] == "/vision/problems/bad-request"
        assert 'route="/segment",status="400"} 2.0' in client.get("/metrics").text
