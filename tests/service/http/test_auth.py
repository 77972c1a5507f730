"""API keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.datastructures import Headers

from service.app import create_app
from service.http.auth import KeyFile, Keys
from service.http.problems import Problem
from tests.service.support import Discs, disc_bundle, encoded, picture, settings, wait_for

PNG = {"content-type": "image/png"}


def test_without_keys_everybody_may_come_in() -> None:
    Keys.of(settings()).check(Headers({}))


def test_keys_come_from_the_settings_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# of the spring\nsecond \n\nthird\n")
    keys = Keys.of(settings(api_keys="first", api_keys_file=file))
    for key in ("first", "second", "third"):
        keys.check(Headers({"authorization": f"Bearer {key}"}))
        keys.check(Headers({"authorization": f"bearer {key}"}))
        keys.check(Headers({"x-api-key": key}))
    for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Basic first"}, {"x-api-key": ""}):
        with pytest.raises(Problem, match="is needed"):
            keys.check(Headers(headers))
    for wrong in ("fourth", "firs", "first2", "# of the spring", "\udce9"):
        with pytest.raises(Problem, match="not valid"):
            keys.check(Headers(raw=[(b"x-api-key", wrong.encode("latin-1", "replace"))]))


def test_an_empty_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n# none\n")
    with pytest.raises(ValueError, match="must have an API key a line"):
        Keys.of(settings(api_keys_file=tmp_path / "keys"))


def test_what_needs_a_key_and_what_does_not(discs: Discs) -> None:
    with TestClient(create_app(settings(api_keys="a,b"), [disc_bundle(discs)])) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        for path in ("/healthz", "/metrics", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200
        assert client.get("/models").status_code == 401
        refused = client.post("/segment", content=encoded(picture()), headers=PNG)
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/unauthorized")
        assert refused.headers["www-authenticate"] == "Bearer"
        for key in "ab":
            headers = PNG | {"authorization": f"Bearer {key}"}
            assert client.post("/segment", content=encoded(picture()), headers=headers).status_code == 200
            assert client.get("/models", headers=headers).status_code == 200


@pytest.mark.parametrize("value", ["", " , ", "schlüssel"])
def test_keys_that_could_never_match_are_a_mistake(value: str) -> None:
    with pytest.raises(ValueError, match="at least one key, of ASCII"):
        settings(api_keys=value)


def test_without_a_key_nothing_is_said_about_the_query(discs: Discs) -> None:
    with TestClient(create_app(settings(api_keys="a"), [disc_bundle(discs)])) as client:
        assert client.post("/segment?score=7", content=b"", headers=PNG).status_code == 401


def test_keys_are_read_again_when_their_file_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    path.write_text("old")
    times = [0.0]
    keys = Keys(file=KeyFile(path, lambda: times[-1]))

    def valid(key: str) -> bool:
        try:
            keys.check(Headers({"x-api-key": key}))
        except Problem:
            return False
        return True

    path.write_text("newer")
    assert (valid("old"), valid("newer")) == (True, False)  # it is not looked at all the time
    times.append(1.0)
    assert (valid("old"), valid("newer")) == (False, True)
    caplog.clear()
    for broken in (b"", b"# none", "n\xf6".encode(), b"\xff"):
        times.append(times[-1] + 1)
        path.write_bytes(broken)
        assert valid("newer")
        assert valid("newer")
    path.unlink()
    for _ in range(2):
        times.append(times[-1] + 1)
        assert valid("newer")
    assert len([record for record in caplog.records if "stay as they were" in record.message]) == 5
    (tmp_path / "next").write_text("newest")
    (tmp_path / "next").rename(path)
    times.append(times[-1] + 1)
    assert (valid("newer"), valid("newest")) == (False, True)
