"""What Ray reads of the application, with modules in Ray's place."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel


def test_the_builder_names_the_class_of_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve run` makes the arguments of the class in the annotation; it takes a text for no class at all."""
    for name in ("ray", "ray.serve", "ray.serve.config", "ray.util", "ray.util.metrics"):
        module: Any = ModuleType(name)
        module.serve = module.Application = module.AutoscalingConfig = module.Gauge = object
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "service.ray_app", raising=False)
    from service import ray_app

    monkeypatch.delitem(sys.modules, "service.ray_app")
    (parameter,) = inspect.signature(ray_app.application).parameters.values()
    assert parameter.annotation is ray_app.Scale
    assert issubclass(ray_app.Scale, BaseModel)
