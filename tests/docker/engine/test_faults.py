"""A replica that dies, hangs or loses its network, under a load of the project's own clients: they lose nothing."""

from __future__ import annotations

import pytest

from tests.docker.engine.support.load import load, patient
from tests.docker.engine.support.project import PATIENCE, Project
from tests.docker.engine.support.proxy import wait_for_proxy
from tests.service.support import wait_for


def test_one_that_dies(fleet: Project) -> None:
    _, dying = fleet.containers("replica")
    with load(patient, fleet.url, 4) as clients:
        clients.wait_for_answers(8)
        before = fleet.state(dying)["RestartCount"]
        fleet.kill_process(dying)
        clients.wait_for_answers(8)
        wait_for(lambda: fleet.state(dying)["RestartCount"] == before + 1, PATIENCE)
        fleet.wait_until_healthy(dying)
        wait_for_proxy(fleet, *fleet.containers("replica"))
        clients.wait_for_answers(8)
    assert clients.lost == {}


@pytest.mark.slow
def test_one_that_hangs(fleet: Project) -> None:
    working, hanging = fleet.containers("replica")
    with load(patient, fleet.url, 4) as clients:
        clients.wait_for_answers(8)
        fleet.engine.docker("pause", hanging)
        wait_for_proxy(fleet, working)
        clients.wait_for_answers(4)
        fleet.engine.docker("unpause", hanging)
        wait_for_proxy(fleet, working, hanging)
        clients.wait_for_answers(8)
    assert clients.lost == {}


@pytest.mark.slow
def test_one_whose_network_is_cut(fleet: Project) -> None:
    working, cut = fleet.containers("replica")
    network = f"{fleet.name}_default"
    with load(patient, fleet.url, 4) as clients:
        clients.wait_for_answers(8)
        fleet.engine.docker("network", "disconnect", network, cut)
        wait_for_proxy(fleet, working)
        clients.wait_for_answers(8)
        fleet.engine.docker("network", "connect", "--alias", "pointrend", network, cut)
        wait_for_proxy(fleet, working, cut)
        clients.wait_for_answers(8)
    assert clients.lost == {}
