"""Where settings come from, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.predict.headers import FORMATS
from service.settings import PREFIX, Settings, check_environment, described, read_settings


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('bundles = "f"\nport = 1\nqueue_length = 1\nmax_pixels = 7\napi_keys = "x, y"\n')
    monkeypatch.setenv("POINTREND_BUNDLES", "a, b/c")
    monkeypatch.setenv("POINTREND_QUEUE_LENGTH", "3")
    for given in ({"config": file}, {}):
        if not given:
            monkeypatch.setenv("POINTREND_CONFIG", str(file))
        found = read_settings(port=9, **given)
        assert [str(path) for path in found.bundles] == ["a", "b/c"]
        assert (found.queue_length, found.port, found.max_pixels) == (3, 9, 7)
        assert [key.get_secret_value() for key in found.api_keys] == ["x", "y"]
        assert found.thread_budget >= 1


def test_formats_are_those_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().formats == FORMATS
    for wrong in ("jpeg", "JPEG,WEBP", ""):
        monkeypatch.setenv("POINTREND_FORMATS", wrong)
        with pytest.raises(ValueError, match="formats"):
            read_settings()


def test_each_mistake_has_its_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POINTREND_PORT", "70000")
    monkeypatch.setenv("POINTREND_MAX_WAIT_MS", "soon")
    with pytest.raises(ValueError, match="port: .*70000") as caught:
        read_settings()
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["port", "max_wait_ms"]
    with pytest.raises(ValueError, match=r"config: there is no file .*nowhere\.toml"):
        read_settings(config=tmp_path / "nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("port = = 1")
    with pytest.raises(ValueError, match=r"config: .*broken\.toml"):
        read_settings(config=broken)


def test_an_unknown_setting_of_the_file_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("prot = 9\n")
    with pytest.raises(ValueError, match="prot: there is no such setting; there are: config, bundles"):
        read_settings(config=file)


@pytest.mark.parametrize(
    ("given", "path"), [("/vision/", "/vision"), ("/a/b-1.2", "/a/b-1.2"), ("", ""), ("/", "")]
)
def test_the_path_of_a_proxy(given: str, path: str) -> None:
    assert read_settings(root_path=given).root_path == path


@pytest.mark.parametrize("given", ["vision", "//host", "/a/..", "/a b", "https://host/vision"])
def test_what_is_no_path(given: str) -> None:
    with pytest.raises(ValueError, match="root_path: .*is a path such as /vision.*, got '"):
        read_settings(root_path=given)


def test_every_setting_is_described() -> None:
    text = described()
    for name, field in Settings.model_fields.items():
        assert f"{PREFIX}{name.upper()}" in text
        assert field.description, name


def test_a_misspelt_variable_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above all POINTREND_API_KEY, which would leave the door open."""
    monkeypatch.setenv("POINTREND_API_KEY", "secret")
    monkeypatch.setenv("POINTREND_WHATEVER", "1")
    with pytest.raises(ValueError, match="did you mean POINTREND_API_KEYS") as caught:
        check_environment()
    assert len(str(caught.value).splitlines()) == 2
    read_settings()  # a client of another server
    assert "secret" not in str(caught.value)


def test_batches_are_small_on_a_cpu_unless_set() -> None:
    assert Settings(device="cpu").batch_budget < Settings(device="cuda").batch_budget
    assert Settings(device="cpu", batch_pixels=7).batch_budget == 7
