"""An engine with the image of this checkout and the images that it needs. Without them all tests here are skipped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.engine.support.base_images import (
    NoBaseImagesError,
    fetch_base_images,
    without_packages,
)
from tests.docker.engine.support.engine import Engine, find_engine
from tests.docker.engine.support.monitoring import in_a_hurry
from tests.docker.engine.support.project import Project, project
from tests.docker.engine.support.proxy import wait_for_replicas

BUILT = "pointrend-test:cpu"


@pytest.fixture(scope="session")
def bare_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The engine of this machine, with room for images."""
    found = find_engine(tmp_path_factory.mktemp("docker"))
    if isinstance(found, str):
        pytest.skip(f"no engine: {found}")
    # Whoever ends this run finds its containers removed, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return found


@pytest.fixture(scope="session")
def engine(bare_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine with the public images. What was made is kept unless POINTREND_TEST_PRUNE is set."""
    try:
        made = fetch_base_images(bare_engine, tmp_path_factory.mktemp("base"))
    except NoBaseImagesError as error:
        pytest.skip(f"no base images: {error}")
    yield bare_engine
    if os.environ.get("POINTREND_TEST_PRUNE"):
        for name in made:
            bare_engine.attempt("image", "rm", name)
        bare_engine.attempt("builder", "prune", "--force")


@pytest.fixture(scope="session")
def image(engine: Engine) -> Iterator[str]:
    """The CPU image of this checkout, built by Compose; POINTREND_TEST_IMAGE names one that is there already."""
    if given := os.environ.get("POINTREND_TEST_IMAGE"):
        yield given
        return
    if reason := without_packages(engine):
        pytest.skip(reason)
    variables = {"COMPOSE_PROFILES": "cpu", "COMPOSE_PROJECT_NAME": "pointrend-test", "IMAGE": BUILT}
    engine.docker("compose", "build", "pointrend", seconds=1800, **variables)
    yield BUILT
    engine.attempt("image", "rm", BUILT)


@pytest.fixture(scope="session")
def hurry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file for Compose that makes Prometheus' minutes seconds."""
    return in_a_hurry(tmp_path_factory.mktemp("hurry"))


@pytest.fixture(scope="session")
def single(engine: Engine, image: str, hurry: Path) -> Iterator[Project]:
    """One service and Prometheus, as `docker compose up` has them, with a core and 3 GiB."""
    with project(engine, image, "cpu", hurry, CPUS="1", MEMORY="3g") as found:
        found.up("pointrend", "prometheus")
        yield found


@pytest.fixture(scope="session")
def _replicas(engine: Engine, image: str) -> Iterator[Project]:
    """Replicas behind the proxy, for all tests that bring them back to two."""
    with project(engine, image, "scale") as found:
        yield found


@pytest.fixture
def fleet(_replicas: Project) -> Project:
    """Two replicas of the image, healthy, and the proxy gives requests to both."""
    _replicas.up("replica", "proxy", options=("--no-recreate", "--scale", "replica=2"))
    wait_for_replicas(_replicas, 2)
    return _replicas
