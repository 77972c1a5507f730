"""What Ray reads of the application, with modules in Ray's place."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from types import ModuleType
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from model.errors import UserError
from service.budgets import plan
from service.settings import Settings
from tests.paths import ROOT


@pytest.fixture
def ray_app(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("ray", "ray.serve", "ray.serve.config", "ray.util", "ray.util.metrics"):
        module: Any = ModuleType(name)
        module.serve = module.Application = module.AutoscalingConfig = module.Gauge = object
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "service.ray_app", raising=False)
    module = importlib.import_module("service.ray_app")
    monkeypatch.delitem(sys.modules, "service.ray_app")
    return module


def documented() -> dict[str, dict[str, Any]]:
    """Return the arguments that the page and the files for Ray give, by where they do."""
    command = re.compile(r"serve run service\.ray_app:application (.+)")
    (given,) = command.findall((ROOT / "docs/scale.md").read_text())
    pod = yaml.safe_load((ROOT / "docker/k8s/rayservice.yaml").read_text())["spec"]
    files = {
        "docker/k8s/rayservice.yaml": pod["serveConfigV2"],
        "docker/ray/serve.yaml": (ROOT / "docker/ray/serve.yaml").read_text(),
    }
    found = {"docs/scale.md": dict(each.split("=") for each in given.split())}
    for name, text in files.items():
        (application,) = yaml.safe_load(text)["applications"]
        assert application["import_path"] == "service.ray_app:application"
        found[name] = application["args"]
    return found


@pytest.mark.parametrize("where", ["docs/scale.md", "docker/k8s/rayservice.yaml", "docker/ray/serve.yaml"])
def test_documented_arguments_are_those_that_there_are(ray_app: Any, where: str) -> None:
    scale = ray_app.Scale.model_validate(documented()[where])
    assert scale.cpus >= 1 and scale.max_replicas >= scale.min_replicas >= 1
    if scale.memory_bytes is not None:  # it must be enough for a replica to start
        plan(Settings(device="cpu", memory_bytes=scale.memory_bytes), scale.memory_bytes)


def test_the_builder_names_the_class_of_its_arguments(ray_app: Any) -> None:
    """`serve run` makes the arguments of the class in the annotation; it takes a text for no class at all."""
    (parameter,) = inspect.signature(ray_app.application).parameters.values()
    assert parameter.annotation is ray_app.Scale
    assert issubclass(ray_app.Scale, BaseModel)


def test_a_token_of_label_studio_is_lent_to_nobody_without_a_key(
    ray_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTREND_LABEL_STUDIO_URL", "http://studio.example")
    with pytest.raises(UserError, match="label_studio_url: needs POINTREND_API_KEYS"):
        ray_app.application(ray_app.Scale())
