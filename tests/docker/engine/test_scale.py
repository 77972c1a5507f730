"""Replicas behind the proxy, under a load: shared, stopped, more and fewer."""

from __future__ import annotations

import pytest

from tests.docker.engine.support.load import bare, load
from tests.docker.engine.support.project import Project
from tests.docker.engine.support.proxy import wait_for_proxy, wait_for_replicas
from tests.docker.engine.support.served import served

pytestmark = pytest.mark.slow


def test_replicas_share_the_load(fleet: Project) -> None:
    before = [served(fleet, each) for each in fleet.containers("replica")]
    with load(bare, fleet.url, 4) as clients:
        clients.wait_for_answers(24)
    counts = [served(fleet, each) - b for each, b in zip(fleet.containers("replica"), before, strict=True)]
    assert clients.lost == {}
    assert sum(counts) == clients.served
    assert min(counts) > 0  # how many each has is a matter of its speed


def test_one_that_is_stopped_loses_nothing(fleet: Project) -> None:
    staying, leaving = fleet.containers("replica")
    with load(bare, fleet.url, 4) as clients:
        clients.wait_for_answers(8)
        fleet.engine.docker("stop", leaving)
        assert fleet.state(leaving)["ExitCode"] == 0
        wait_for_proxy(fleet, staying)
        clients.wait_for_answers(8)
        fleet.engine.docker("start", leaving)
        fleet.wait_until_healthy(leaving)
        wait_for_proxy(fleet, staying, leaving)
        clients.wait_for_answers(8)
    assert clients.lost == {}


def test_from_two_to_three_to_one(fleet: Project) -> None:
    with load(bare, fleet.url, 4) as clients:
        for count in (3, 1):
            fleet.up("replica", options=("--no-recreate", "--scale", f"replica={count}"))
            wait_for_replicas(fleet, count)
            clients.wait_for_answers(8)
    assert clients.lost == {}
