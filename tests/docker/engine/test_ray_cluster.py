"""A Ray cluster of containers, as `docker compose --profile ray up` makes it, and what docs/scale.md says of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.engine.support.engine import Engine
from tests.docker.engine.support.load import Load, bare, load, patient
from tests.docker.engine.support.project import Project, project
from tests.docker.prometheus import ask
from tests.paths import ROOT
from tests.service.support import wait_for

pytestmark = pytest.mark.slow
BUILT = "pointrend-test:ray"
PATIENCE = 900.0  # seconds for what takes 60 on a machine that has nothing else to do
PAUSE = 3.0  # seconds between two looks, each of which starts programs
# For a busy machine: Ray gives a proxy five seconds to start, and workers less of the processor than its own programs.
PATIENT_RAY = [
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S=60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S=60",
    "RAY_worker_niceness=0",
]
STATE = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8265/api/serve/applications/').read().decode())"


@pytest.fixture(scope="module")
def ray_image(engine: Engine) -> Iterator[str]:
    """The image with Ray, built by Compose; POINTREND_TEST_RAY_IMAGE names one that is there already."""
    if given := os.environ.get("POINTREND_TEST_RAY_IMAGE"):
        yield given
        return
    variables = {"COMPOSE_PROFILES": "ray", "COMPOSE_PROJECT_NAME": "pointrend-test", "IMAGE": BUILT}
    engine.docker("compose", "build", "ray-head", seconds=3600, **variables)
    yield BUILT
    engine.attempt("image", "rm", BUILT)


@pytest.fixture(scope="module")
def cluster(
    engine: Engine, ray_image: str, exported: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """Two hosts of replicas, in front of them the head, and Prometheus. There are two bundles, first and second."""
    bundles = tmp_path_factory.mktemp("bundles")
    for name in ("first", "second"):
        shutil.copytree(exported("tiny_r50"), bundles / name)
    for path in (bundles, *bundles.rglob("*")):  # the containers' user reads them
        path.chmod(0o755 if path.is_dir() else 0o644)
    bundles.parent.chmod(0o755)
    (bundles / "serve.yaml").write_text(served("first", min_replicas=2))
    head = {"environment": PATIENT_RAY, "volumes": [f"{bundles}:/app/ray:ro"]}
    services = {"ray-head": head, "ray-worker": {"environment": PATIENT_RAY}}
    changes = tmp_path_factory.mktemp("changes") / "compose.yml"
    changes.write_text(yaml.safe_dump({"services": services}))
    with project(engine, ray_image, "ray", changes, BUNDLES=str(bundles)) as found:
        found.compose("up", "--detach", "--no-build", "ray-head", "ray-worker", "prometheus")
        container = found.container("ray-head")
        wait_for(lambda: found.is_healthy(container) and runs(found, "first", 2), PATIENCE, PAUSE)
        yield found


def served(bundle: str, **arguments: object) -> str:
    """Return docker/ray/serve.yaml with another bundle and other arguments."""
    config = yaml.safe_load((ROOT / "docker/ray/serve.yaml").read_text())
    config["applications"][0]["args"] |= {"bundles": f"/bundles/{bundle}", **arguments}
    return str(yaml.safe_dump(config))


def deploy(cluster: Project, bundle: str, replicas: int, **arguments: object) -> None:
    """Let Ray Serve update the application, and wait until so many replicas run at least."""
    text = served(bundle, min_replicas=replicas, **arguments)
    script = f"cat >/tmp/serve.yaml <<'END'\n{text}END\nserve deploy /tmp/serve.yaml"
    cluster.run_in(cluster.container("ray-head"), "sh", "-c", script)
    wait_for(lambda: runs(cluster, bundle, replicas), PATIENCE, PAUSE)


def application(cluster: Project) -> dict[str, Any]:
    """Return what Ray Serve says of the application."""
    said = yaml.safe_load(cluster.run_in(cluster.container("ray-head"), "python", "-c", STATE))
    return dict(said["applications"]["pointrend"])


def hosts(cluster: Project) -> list[str]:
    """Return the address of the host of each replica that runs."""
    replicas = application(cluster)["deployments"]["pointrend"]["replicas"]
    return [each["node_ip"] for each in replicas if each["state"] == "RUNNING"]


def runs(cluster: Project, bundle: str, replicas: int) -> bool:
    """Return whether at least so many replicas run, all of them of the last deployment."""
    found = application(cluster)
    given = found["deployed_app_config"]["args"]["bundles"]
    return found["status"] == "RUNNING" and given.endswith(bundle) and len(hosts(cluster)) >= replicas


def address(cluster: Project, container: str) -> str:
    (network,) = cluster.engine.inspect(container)["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


def busy_worker(cluster: Project) -> str:
    """Return a worker's container on which there is a replica."""
    found = {address(cluster, each): each for each in cluster.containers("ray-worker")}
    return found[hosts(cluster)[0]]


def wait_until_replaced(cluster: Project, lost: str) -> None:
    """Wait until Ray has seen that a host is gone, and replicas run on another. There may be no room for all."""
    wait_for(lambda: (found := hosts(cluster)) and lost not in found, PATIENCE, PAUSE)


def nothing_lost(tried: str, clients: Load) -> None:
    """Check what the clients got, and print it for docs/scale.md."""
    print(
        f"\n{tried}: {clients.served} served, {clients.answers[429]} told to come back, {clients.lost} lost"
    )
    assert clients.lost == {}


def test_a_killed_host_loses_no_request_of_our_client(cluster: Project) -> None:
    deploy(cluster, "first", 2)
    with load(patient, cluster.url, 4) as clients:
        clients.wait_for_answers(8)
        victim = busy_worker(cluster)
        lost = address(cluster, victim)
        cluster.engine.docker("kill", victim)
        wait_until_replaced(cluster, lost)
        clients.wait_for_answers(8)
        cluster.engine.docker("start", victim)
        wait_for(lambda: runs(cluster, "first", 2), PATIENCE, PAUSE)
        clients.wait_for_answers(8)
    nothing_lost("host killed", clients)


def test_a_host_that_is_cut_off_and_comes_back_loses_no_request_of_our_client(cluster: Project) -> None:
    deploy(cluster, "first", 2)
    network = f"{cluster.name}_default"
    with load(patient, cluster.url, 4) as clients:
        clients.wait_for_answers(8)
        cut = busy_worker(cluster)
        lost = address(cluster, cut)
        cluster.engine.docker("network", "disconnect", network, cut)
        wait_until_replaced(cluster, lost)
        clients.wait_for_answers(8)
        cluster.engine.docker("network", "connect", "--alias", "ray-worker", network, cut)
        wait_for(lambda: runs(cluster, "first", 2), PATIENCE, PAUSE)
        clients.wait_for_answers(8)
    nothing_lost("host cut off", clients)


def test_a_bundle_is_replaced_without_a_gap(cluster: Project) -> None:
    deploy(cluster, "first", 2)
    with load(bare, cluster.url, 2) as clients:
        clients.wait_for_answers(4)
        deploy(cluster, "second", 2)
        clients.wait_for_answers(8)
    nothing_lost("bundle replaced", clients)


def test_load_makes_four_replicas_of_one_and_prometheus_sees_them(cluster: Project) -> None:
    deploy(cluster, "first", 1, target_requests=1)
    with load(bare, cluster.url, 10) as clients:
        wait_for(lambda: len(hosts(cluster)) == 4, PATIENCE, PAUSE)
        wait_for(lambda: len(ask(cluster.prometheus, "pointrend_queue_seconds")) >= 4, PATIENCE, PAUSE)
    nothing_lost("two replicas to four", clients)
    assert {each["metric"]["job"] for each in ask(cluster.prometheus, "up")} >= {"pointrend"}
