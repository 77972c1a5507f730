"""What no schema says of docker/k8s/deployment.yaml: its pod as a container. The tests do what the kubelet would."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.docker.engine.support.engine import Engine
from tests.docker.engine.support.load import JPEG, PHOTO
from tests.docker.engine.support.pod import Pod, deployment, options, pod, write_secret
from tests.docker.engine.support.project import PATIENCE
from tests.docker.tools import COFFEE, sample
from tests.service.support import beginning, wait_for

pytestmark = pytest.mark.slow
KEY = "first-key"


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secret")
    folder.chmod(0o755)
    write_secret(folder, "keys", f"{KEY}\n")
    return folder


@pytest.fixture
def started(engine: Engine, image: str, secret: Path) -> Iterator[Pod]:
    """The pod, a moment after its start."""
    with pod(engine, image, secret) as found:
        yield found


@pytest.fixture(scope="module")
def ready(engine: Engine, image: str, secret: Path) -> Iterator[Pod]:
    """A pod that is ready, for the tests that leave it so."""
    with pod(engine, image, secret) as found:
        wait_for(lambda: succeeds(found, "readinessProbe"), PATIENCE)
        yield found


def container() -> dict[str, Any]:
    (found,) = deployment()["containers"]
    return dict(found)


def succeeds(pod: Pod, name: str) -> bool:
    """Ask what one of the manifest's probes asks, with more patience than the kubelet's: this machine may be busy."""
    path = container()[name]["httpGet"]["path"]
    try:
        return httpx.get(f"{pod.url}{path}", timeout=PATIENCE).is_success
    except httpx.TransportError:
        return False


def segment(pod: Pod, key: str = KEY) -> int:
    headers = {**JPEG, "x-api-key": key}
    return httpx.post(f"{pod.url}/segment", content=PHOTO, headers=headers, timeout=PATIENCE).status_code


def test_a_pod_is_ready_before_its_startup_probe_gives_up_and_not_before_it_can_answer(started: Pod) -> None:
    startup = container()["startupProbe"]
    wait_for(lambda: succeeds(started, "startupProbe"), PATIENCE)
    # Seconds of work, so that this holds on a busy machine; a node may be four times as slow.
    worked = sample(started.url, "process_cpu_seconds_total")
    assert worked and 4 * worked < startup["periodSeconds"] * startup["failureThreshold"]
    # From here on the kubelet asks the other two.
    assert segment(started) == 200
    assert succeeds(started, "readinessProbe") and succeeds(started, "livenessProbe")


def test_a_full_pod_stays_alive_and_ready(ready: Pod) -> None:
    """Work must not look like a fault: it would be restarted, or taken out of the Service when it is needed most."""
    with ThreadPoolExecutor(16) as clients:
        answers = [clients.submit(segment, ready) for _ in range(32)]
        asked = []
        while not all(answer.done() for answer in answers):
            asked.append(succeeds(ready, "livenessProbe") and succeeds(ready, "readinessProbe"))
    assert {answer.result() for answer in answers} <= {200, 429}
    assert all(asked)
    assert len(asked) > 4  # they are answered beside the work, not after it


def test_its_file_system_is_read_only_and_its_temporary_files_have_room(ready: Pod) -> None:
    done = ready.engine.attempt("exec", ready.container, "touch", "/app/file")
    assert done.returncode != 0 and "Read-only file system" in done.stderr
    ready.execute("touch", "/tmp/file")
    assert ready.execute("id", "-u") == "10001"


def test_a_pod_that_ends_serves_until_the_signal_and_finishes_what_is_inside(started: Pod) -> None:
    """The kubelet runs preStop, sends SIGTERM, and kills what is left when the time for both is over."""
    wait_for(lambda: succeeds(started, "readinessProbe"), PATIENCE)
    hook = container()["lifecycle"]["preStop"]["exec"]["command"]
    since = time.monotonic()
    with ExitStack() as stack, ThreadPoolExecutor() as beside:
        begun = [stack.enter_context(beginning(started.url, len(COFFEE), key=KEY)) for _ in range(3)]
        stopping = beside.submit(started.execute, *hook)
        while not stopping.done():  # those who route do not know yet
            assert segment(started) == 200 and succeeds(started, "readinessProbe")
        grace = deployment()["terminationGracePeriodSeconds"] - int(time.monotonic() - since)
        ended = beside.submit(started.engine.docker, "stop", "--time", str(grace), started.container)
        wait_for(lambda: not succeeds(started, "livenessProbe"), PATIENCE)
        for connection in begun:
            connection.sendall(COFFEE)
        for connection in begun:
            with HTTPResponse(connection) as response:
                response.begin()
                assert response.status == 200 and json.loads(response.read())["model"]
        ended.result()
    state = started.state
    assert (state["ExitCode"], state["OOMKilled"], state["Running"]) == (0, False, False)


def test_keys_of_a_secret_that_changes_are_read_again(ready: Pod, secret: Path) -> None:
    assert segment(ready, "second-key") == 401
    write_secret(secret, "keys", f"{KEY}\nsecond-key\n")
    wait_for(lambda: segment(ready, "second-key") == 200, PATIENCE)
    assert segment(ready) == 200


def test_variables_of_a_service_would_be_taken_for_settings(engine: Engine, image: str, secret: Path) -> None:
    """So `enableServiceLinks: false` is needed: these are what Kubernetes sets for the manifest's Service."""
    links = {
        "POINTREND_SERVICE_HOST": "10.96.0.12",
        "POINTREND_SERVICE_PORT": "8000",
        "POINTREND_PORT": "tcp://10.96.0.12:8000",
        "POINTREND_PORT_8000_TCP_ADDR": "10.96.0.12",
    }
    given = [f"--env={name}={value}" for name, value in links.items()]
    done = engine.attempt("run", "--rm", *options(deployment(), secret), *given, image)
    assert done.returncode == 2
    assert "POINTREND_" in done.stdout + done.stderr
    assert deployment()["enableServiceLinks"] is False
