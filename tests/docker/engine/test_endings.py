"""How one service ends: when it is told to, when it is killed, and when its memory runs out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from tests.docker.engine.support.engine import Engine
from tests.docker.engine.support.load import JPEG, PHOTO
from tests.docker.engine.support.project import PATIENCE, Project, project
from tests.docker.prometheus import firing
from tests.docker.tools import COFFEE, sample, succeeds
from tests.service.support import beginning, wait_for

SMALL = {"MEMORY": "1700m", "POINTREND_QUEUE_SECONDS": "1000"}  # no 429, however slow the machine is
# Files in /tmp are memory of the container, too. No process beside the service is as large as the service itself.
FILL = """head -c 1100000000 /dev/zero > /tmp/fill
exec python -c 'import time; kept = b"1" * 300_000_000; time.sleep(600)'"""


@pytest.fixture(scope="module")
def _small(engine: Engine, image: str, hurry: Path) -> Iterator[Project]:
    with project(engine, image, "cpu", hurry, **SMALL) as found:
        yield found


@pytest.fixture
def small(_small: Project) -> Project:
    """A service with little memory, and Prometheus, both of them up whatever the test before has left."""
    _small.up("pointrend", "prometheus")
    return _small


def answers(project: Project) -> bool:
    answer = httpx.post(f"{project.url}/segment", content=PHOTO, headers=JPEG, timeout=PATIENCE)
    return answer.status_code == 200


def restarts(project: Project) -> int:
    return int(project.state(project.container("pointrend"))["RestartCount"])


def test_stop_answers_what_is_inside_and_ends_well(small: Project) -> None:
    container = small.container("pointrend")
    with ExitStack() as stack, ThreadPoolExecutor() as beside:
        begun = [stack.enter_context(beginning(small.url, len(COFFEE))) for _ in range(3)]
        for connection in begun:
            connection.sendall(COFFEE[:1000])
        wait_for(lambda: sample(small.url, "pointrend_requests_in_flight") == 3 + 1, PATIENCE)
        stopping = beside.submit(small.compose, "stop", "pointrend")
        wait_for(lambda: not succeeds(f"{small.url}/healthz"), PATIENCE)
        for connection in begun:
            connection.sendall(COFFEE[1000:])
        for connection in begun:
            with HTTPResponse(connection) as response:
                response.begin()
                assert response.status == 200 and json.loads(response.read())["model"]
        stopping.result()
    state = small.state(container)
    assert (state["ExitCode"], state["Running"]) == (0, False)
    small.up("pointrend")
    assert answers(small)


@pytest.mark.slow
def test_a_service_that_is_killed_is_started_again(small: Project) -> None:
    container, before = small.container("pointrend"), restarts(small)
    small.kill_process(container)
    wait_for(lambda: restarts(small) == before + 1, PATIENCE)
    small.wait_until_healthy(container)
    assert answers(small)


@pytest.mark.slow
def test_a_service_whose_memory_runs_out_is_started_again_and_an_alert_says_so(small: Project) -> None:
    container, before, since = small.container("pointrend"), restarts(small), int(time.time())
    wait_for(lambda: "PointRendRestarted" not in firing(small.prometheus), PATIENCE)
    small.engine.attempt("exec", container, "sh", "-c", FILL, seconds=PATIENCE)
    wait_for(lambda: restarts(small) == before + 1, PATIENCE)
    events = ("events", "--since", str(since), "--until", str(int(time.time()) + 1))
    found = small.engine.docker(*events, "--filter", f"container={container}", "--filter", "event=oom")
    assert found
    wait_for(lambda: "PointRendRestarted" in firing(small.prometheus), PATIENCE)
    small.wait_until_healthy(container)
    assert answers(small)


def test_too_little_memory_is_refused_in_one_line_that_says_what_is_needed(
    engine: Engine, image: str
) -> None:
    done = engine.attempt("run", "--rm", "--memory", "700m", image)
    assert done.returncode == 2
    (line,) = (line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("warning"))
    assert "734 MB is too little" in line and "at least" in line
