"""The images for NVIDIA's GPUs and for Ray, which take long to build: `make test-slow` has them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docker.engine.support.engine import Engine

pytestmark = pytest.mark.slow


def build(engine: Engine, profile: str, service: str) -> Iterator[str]:
    """Build a service's image with Compose, and remove it at the end."""
    name = f"pointrend-test:{profile}"
    variables = {"COMPOSE_PROFILES": profile, "COMPOSE_PROJECT_NAME": "pointrend-test", "IMAGE": name}
    engine.docker("compose", "build", service, seconds=3000, **variables)
    yield name
    engine.attempt("image", "rm", name)


@pytest.fixture(scope="module")
def gpu_image(engine: Engine) -> Iterator[str]:
    yield from build(engine, "gpu", "pointrend-gpu")


@pytest.fixture(scope="module")
def ray_image(engine: Engine) -> Iterator[str]:
    yield from build(engine, "ray", "ray-head")


def test_without_a_gpu_the_image_for_gpus_says_so_in_one_line(engine: Engine, gpu_image: str) -> None:
    done = engine.attempt("run", "--rm", gpu_image, "serve", "--device", "cuda")
    assert done.returncode not in (0, 137)
    *_, line = (done.stdout + done.stderr).strip().splitlines()
    assert "Traceback" not in done.stdout + done.stderr
    assert "cuda" in line.lower() or "gpu" in line.lower()


def test_the_image_with_ray_has_what_ray_starts(engine: Engine, ray_image: str) -> None:
    run = ("run", "--rm", "--network", "none", "--entrypoint")
    assert "ray, version" in engine.docker(*run, "ray", ray_image, "--version")
    check = "from service.ray_app import application; print(callable(application))"
    assert engine.docker(*run, "python", ray_image, "-c", check).splitlines()[-1] == "True"
