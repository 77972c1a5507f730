"""What `docker compose up` of the README gives: a service that answers, and Prometheus that watches it."""

from __future__ import annotations

import httpx

from tests.docker.engine.support.load import JPEG, PHOTO
from tests.docker.engine.support.project import PATIENCE, Project
from tests.docker.prometheus import ask
from tests.service.support import wait_for


def test_the_service_answers_a_photo(single: Project) -> None:
    answer = httpx.post(f"{single.url}/segment", content=PHOTO, headers=JPEG, timeout=PATIENCE)
    assert answer.status_code == 200
    assert answer.json()["instances"]


def test_prometheus_sees_it(single: Project) -> None:
    wait_for(lambda: len(ask(single.prometheus, 'up{job="pointrend"} == 1')) == 1, PATIENCE)
