"""Prometheus beside the service: its targets, its alerts, and the queries of the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from service.http.stream import MEDIA_TYPE
from tests.docker.engine.support.engine import Engine
from tests.docker.engine.support.load import JPEG, PHOTO, bare, load
from tests.docker.engine.support.project import PATIENCE, Project, project
from tests.docker.prometheus import all_rules, ask, firing, without_answer
from tests.service.support import beginning, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def watched(engine: Engine, image: str, hurry: Path) -> Iterator[Project]:
    """A service that refuses a fifth request, and a Prometheus for which minutes are seconds."""
    with project(engine, image, "cpu", hurry, POINTREND_QUEUE_LENGTH="4") as found:
        found.up("pointrend", "prometheus")
        yield found


def sees_one(project: Project, job: str) -> bool:
    """Return whether Prometheus has scraped the one target of a job."""
    return len(ask(project.prometheus, f'up{{job="{job}"}} == 1')) == 1


def wait_for_alerts(project: Project, condition: Callable[[set[str]], bool]) -> None:
    try:
        wait_for(lambda: condition(firing(project.prometheus)), PATIENCE)
    except AssertionError:
        pytest.fail(f"these alerts fire: {firing(project.prometheus)}")


def test_a_service_that_does_nothing_is_seen_and_fires_no_alert(watched: Project) -> None:
    for job in ("pointrend", "prometheus"):
        wait_for(partial(sees_one, watched, job), PATIENCE)
    wait_for_alerts(watched, lambda names: not names)


def post(url: str, accept: str = "*/*", **query: str | float) -> httpx.Response:
    """Post the photo until it is taken in: on a busy machine the load may leave no room."""
    found: list[httpx.Response] = []

    def is_taken_in() -> bool:
        headers = {**JPEG, "accept": accept}
        found.append(
            httpx.post(f"{url}/segment", params=query, content=PHOTO, headers=headers, timeout=PATIENCE)
        )
        return found[-1].status_code != 429

    wait_for(is_taken_in, PATIENCE, pause=1)
    return found[-1]


def post_what_every_panel_shows(url: str) -> bool:
    """Send requests of all kinds: good, in lines, wrong, left by the client, and cut short by a deadline, if met."""
    assert post(url, model="street").status_code == 200
    assert '"done"' in post(url, accept=MEDIA_TYPE).text
    assert post(url, resolution=29).status_code == 422
    with beginning(url, len(PHOTO)) as connection:
        connection.sendall(PHOTO[:1000])
    deadlines = (50 * 2**power for power in range(10))
    found = (post(url, score=0.05, resolution=896, deadline_ms=each) for each in deadlines)
    return any(each.status_code == 200 and '"truncated":true' in each.text.replace(" ", "") for each in found)


def test_every_panel_shows_a_load(watched: Project) -> None:
    with load(bare, watched.url, 3) as clients:
        clients.wait_for_answers(10)

        def all_have_answers() -> bool:
            return post_what_every_panel_shows(watched.url) and not without_answer(watched.prometheus)

        try:
            wait_for(all_have_answers, PATIENCE)
        except AssertionError:
            assert without_answer(watched.prometheus) == set()
    assert clients.lost == {}


def test_a_service_that_is_full_fires_alerts(watched: Project) -> None:
    wanted = {"PointRendQueueSaturated", "PointRendRefusing"}
    with load(bare, watched.url, 12) as clients:
        wait_for_alerts(watched, lambda names: wanted <= names)
    assert clients.lost == {} and clients.answers[429]
    wait_for_alerts(watched, lambda names: not wanted & names)


def test_a_service_that_is_stopped_fires_an_alert(watched: Project) -> None:
    watched.compose("stop", "pointrend")
    wait_for_alerts(watched, lambda names: "PointRendDown" in names)
    watched.up("pointrend")
    wait_for_alerts(watched, lambda names: "PointRendDown" not in names)


def test_alerts_link_to_the_runbook(watched: Project) -> None:
    flags = httpx.get(f"{watched.prometheus}/api/v1/status/flags", timeout=60).json()["data"]
    own = flags["web.external-url"].rstrip("/")
    assert own == watched.prometheus
    alerts = [rule for rule in all_rules(watched.prometheus) if rule["type"] == "alerting"]
    assert alerts
    for alert in alerts:
        link = alert["annotations"]["runbook_url"].replace("{{ $externalURL }}", own)
        page, _, anchor = link.partition("#")
        text = httpx.get(page, timeout=60).raise_for_status().text
        assert f"\n## {anchor}\n" in text.lower()
