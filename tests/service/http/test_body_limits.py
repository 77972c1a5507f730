"""How many bytes of bodies may be inside."""

from __future__ import annotations

import pytest

from service.engine.admission import QueueFull
from service.http.body_limits import Bodies
from tests.service.http.test_server import post, ready
from tests.service.support import Discs, beginning, disc_bundle, encoded, picture, running, wait_for


def test_bytes_are_counted_and_given_back() -> None:
    bodies = Bodies(100)
    with bodies.room() as first:
        first(70)
        with bodies.room() as second:
            second(30)
            with pytest.raises(QueueFull, match="queue is full"):
                second(1)
            assert bodies.held == 100
        assert bodies.held == 70
        first(500)  # alone again
    assert bodies.held == 0


def test_a_body_that_finds_no_room_is_refused_and_others_go_on() -> None:
    discs = Discs()
    discs.gate.set()
    good = encoded(picture())
    with running(disc_bundle(discs), held_bytes=len(good) + 1000) as url:
        wait_for(lambda: ready(url))
        with beginning(url, 5000) as connection:
            connection.sendall(bytes(1500))
            wait_for(lambda: post(url, good).status_code == 429)
            assert post(url, good).headers["retry-after"] == "1"
        wait_for(lambda: post(url, good).status_code == 200)  # it left, and its bytes with it
