"""How many bytes of bodies may be in memory at once."""

from __future__ import annotations

import pytest

from service.engine.errors import BodiesFull
from service.http.body.limits import BodyBudget
from tests.service.http.test_server import post, ready
from tests.service.support import Discs, beginning, disc_bundle, encoded, metrics, picture, running, wait_for


def test_bytes_are_counted_and_given_back() -> None:
    bodies = BodyBudget(100)
    with bodies.reserve() as first:
        first(70)
        with bodies.reserve() as second:
            second(30)
            with pytest.raises(BodiesFull, match="may take 100 bytes together"):
                second(1)
            assert bodies.held == 100
        assert bodies.held == 70
        first(500)  # alone again
    assert bodies.held == 0


def test_a_body_that_finds_no_room_is_refused_and_others_go_on(discs: Discs) -> None:
    good = encoded(picture())
    with running(disc_bundle(discs), held_bytes=len(good) + 1000) as url:
        wait_for(lambda: ready(url))
        with beginning(url, 5000) as connection:
            connection.sendall(bytes(1500))
            wait_for(lambda: post(url, good).status_code == 429)
            refused = post(url, good)
            assert refused.json()["type"] == "/problems/bodies-full"
            assert refused.headers["retry-after"] == "1"
            text = metrics(url)
            assert 'pointrend_rejected_total{problem="bodies-full"}' in text
            assert 'problem="queue-full"' not in text
        wait_for(lambda: post(url, good).status_code == 200)  # it left, and its bytes with it
