"""The manifests against Kubernetes' own schemas, and against what the service does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import PREFIX, Settings
from tests.docker.tools import DOCKER, run, tool

FOLDER = DOCKER / "k8s"


def documents(name: str) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in yaml.safe_load_all((FOLDER / name).read_text())}


def ray() -> dict[str, Any]:
    return documents("rayservice.yaml")["RayService"]["spec"]


def pods() -> list[dict[str, Any]]:
    cluster = ray()["rayClusterConfig"]
    templates = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [
        documents("deployment.yaml")["Deployment"]["spec"]["template"],
        *(each["template"] for each in templates),
    ]


def validate(path: Path) -> str:
    return run(tool("kubernetes-validate", "PyPI's package of that name"), "--strict", str(path))


def test_the_deployment_is_valid() -> None:
    said = validate(FOLDER / "deployment.yaml")
    assert said.count("passed") == 4 and "WARN" not in said


@pytest.mark.parametrize("index", [1, 2])
def test_ray_s_pods_are_valid(index: int, tmp_path: Path) -> None:
    """Kubernetes has no schema for a RayService, but for the pods in it."""
    pod = pods()[index]
    name = tmp_path / "pod.yaml"
    name.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "spec": pod["spec"],
                "metadata": {"name": "ray"} | pod["metadata"],
            }
        )
    )
    assert "passed" in validate(name)


@pytest.mark.filterwarnings("default")  # Ray's own are not ours to mend
def test_what_ray_is_to_serve() -> None:
    config = yaml.safe_load(ray()["serveConfigV2"])
    (application,) = config["applications"]
    assert application["import_path"] == "service.ray_app:application"
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.serve.schema import ServeDeploySchema

    from service.ray_app import Scale

    ServeDeploySchema.model_validate(config)
    assert Scale.model_validate(application["args"]).cpus >= 1


def test_neither_an_update_nor_a_drained_node_takes_the_last_pods() -> None:
    kinds = documents("deployment.yaml")
    update = kinds["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert (update["maxUnavailable"], update["maxSurge"]) == (0, 1)
    budget = kinds["PodDisruptionBudget"]["spec"]
    assert budget["selector"] == kinds["Deployment"]["spec"]["selector"]
    assert budget["maxUnavailable"] < kinds["HorizontalPodAutoscaler"]["spec"]["minReplicas"]


def test_no_pod_gets_variables_that_look_like_settings() -> None:
    """Kubernetes sets POINTREND_PORT and POINTREND_SERVICE_HOST for a Service named pointrend."""
    for pod in pods():
        assert pod["spec"]["enableServiceLinks"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


def merged(base: Any, patch: Any) -> Any:
    """What a strategic merge makes of a deployment: objects by key, lists of named objects by name."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return base | {
            key: merged(base[key], value) if key in base else value for key, value in patch.items()
        }
    if isinstance(base, list) and isinstance(patch, list):
        there = {each["name"]: each for each in base}
        return list(merged(there, {each["name"]: each for each in patch}).values())
    return patch


def test_a_bundle_of_your_own_comes_by_a_volume(tmp_path: Path) -> None:
    patch = yaml.safe_load((FOLDER / "own-bundle.yaml").read_text())
    deployment = merged(documents("deployment.yaml")["Deployment"], patch)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {each["name"] for each in container["volumeMounts"]} == {"tmp", "api-keys", "bundles"}
    assert {each["name"] for each in pod["volumes"]} == {"tmp", "api-keys", "bundles"}
    given = {each["name"].removeprefix(PREFIX).lower(): each["value"] for each in container["env"]}
    assert Settings.model_validate(given).bundles == (Path("/bundles/mine"),)
    file = tmp_path / "deployment.yaml"
    file.write_text(yaml.safe_dump(deployment))
    assert "passed" in validate(file)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_keys_come_from_a_secret_and_no_pod_starts_without(index: int) -> None:
    pod = pods()[index]["spec"]
    (secret,) = (each["secret"] for each in pod["volumes"] if "secret" in each)
    assert secret == {"secretName": "pointrend-api-keys"}  # not optional
    (container,) = pod["containers"]
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "api-keys")
    given = {each["name"]: each["value"] for each in container["env"]}
    assert Path(given["POINTREND_API_KEYS_FILE"]).parent == Path(mount["mountPath"])
    assert "POINTREND_API_KEYS" not in given
    text = (FOLDER / ("rayservice.yaml" if index else "deployment.yaml")).read_text()
    assert f"--from-file={Path(given['POINTREND_API_KEYS_FILE']).name}=" in text


def test_the_deployment_fits_the_service() -> None:
    kinds = documents("deployment.yaml")
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = {each["name"].removeprefix(PREFIX).lower(): each["value"] for each in container["env"]}
    settings = Settings.model_validate(given)
    _, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] > settings.grace_seconds + int(seconds)
    probes = [container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")]
    assert probes == ["/readyz", "/readyz", "/healthz"]
    metric = kinds["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]
    assert float(metric["target"]["averageValue"]) < settings.queue_seconds
    (rule,) = yaml.safe_load((FOLDER / "adapter-values.yaml").read_text())["rules"]["custom"]
    assert rule["name"]["as"] == metric["metric"]["name"] == "pointrend_queue_seconds"
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"] == kinds["Service"]["spec"]["selector"]
