"""How many bytes of bodies may be in memory at once, and who has to leave."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from service.engine.errors import LONGEST_WAIT, BodiesFull
from service.http.body import limits
from service.http.body.limits import Body, BodyBudget
from service.http.problems import Problem
from tests.service.http.test_server import post
from tests.service.support import (
    PATIENCE,
    Discs,
    beginning,
    disc_bundle,
    encoded,
    metrics,
    picture,
    running,
    wait_for,
)


class Clock:
    """A time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Senders:
    """Bodies on their way into a memory of 1000 bytes, below 10 bytes a second too slow."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.budget = BodyBudget(1000, 10.0, self.clock)
        self.dropped: list[Body] = []
        self._contexts = ExitStack()

    def begin(self, count: int) -> Body:
        body = self._contexts.enter_context(self.budget.reserve())
        body.receive(lambda: self.dropped.append(body))
        body.take(count)
        return body


def test_bytes_are_counted_and_given_back() -> None:
    bodies = BodyBudget(100)
    with bodies.reserve() as first:
        first.take(70)
        with bodies.reserve() as second:
            second.take(30)
            with pytest.raises(BodiesFull, match="may take 100 bytes together"):
                second.take(1)
            assert bodies.held == 100
        assert bodies.held == 70
        first.take(500)  # alone again
    assert bodies.held == 0


def test_a_sender_of_nothing_is_not_dropped_to_make_room() -> None:
    """It holds no memory, so that its end would help nobody."""
    senders = Senders()
    silent, slow = senders.begin(0), senders.begin(900)
    senders.clock.now += 100
    newcomer = senders.begin(300)
    assert senders.dropped == [slow] and not silent.dropped
    silent.take(100)
    assert senders.budget.held == newcomer.held + silent.held == 400


def test_the_slowest_sender_makes_room() -> None:
    senders = Senders()
    slow, slower = senders.begin(400), senders.begin(400)
    senders.clock.now += 1.9
    slow.take(10)
    with pytest.raises(BodiesFull):
        senders.begin(300)  # nobody's rate is known yet
    senders.clock.now += 1.9
    slow.take(10)  # some 5 bytes a second
    newcomer = senders.begin(300)
    assert senders.dropped == [slower]
    assert slower.dropped
    assert senders.budget.held == slow.held + newcomer.held == 720


def test_as_many_are_dropped_as_needed_and_no_fast_one() -> None:
    senders = Senders()
    stalled = [senders.begin(100) for _ in range(8)]
    fast = senders.begin(0)
    for _ in range(5):
        senders.clock.now += 1.0
        fast.take(30)
    senders.begin(350)
    assert len(senders.dropped) == 3
    assert set(senders.dropped) <= set(stalled)
    assert senders.budget.held == 1000


def test_a_quick_beginning_does_not_excuse_a_stop() -> None:
    senders = Senders()
    lazy = senders.begin(950)
    for _ in range(4):
        senders.clock.now += 1.9
        lazy.take(1)
    assert lazy.rate() < 1
    senders.begin(100)
    assert senders.dropped == [lazy]


def test_the_slowest_may_be_the_one_that_asks() -> None:
    senders = Senders()
    with senders.budget.reserve() as complete:
        complete.take(600)
        slow = senders.begin(400)
        senders.clock.now += 10
        with pytest.raises(Problem, match="less than 10 bytes a second") as caught:
            slow.take(1)
        assert caught.value.kind == "slow-body"
        assert not senders.dropped


def test_complete_bodies_are_never_dropped() -> None:
    senders = Senders()
    body = senders.begin(900)
    body.complete()
    senders.clock.now += 100
    with pytest.raises(BodiesFull):
        senders.begin(200)
    assert not senders.dropped


def test_those_who_are_refused_are_told_different_times() -> None:
    """Bodies of 200 bytes leave twice a second, so those who are told to come again should come so often."""
    senders = Senders()
    for _ in range(10):
        senders.clock.now += 0.5
        with senders.budget.reserve() as body:
            body.take(200)
    with senders.budget.reserve() as full:
        full.take(1000)
        waits = []
        for _ in range(1000):
            with pytest.raises(BodiesFull) as caught:
                senders.begin(1)
            assert caught.value.wait is not None
            waits.append(caught.value.wait)
    assert waits[:3] == pytest.approx([0.45, 0.9, 1.35])
    assert max(waits) == LONGEST_WAIT  # beyond which a prediction says little


def test_a_body_that_finds_no_room_is_refused_and_others_go_on(
    discs: Discs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GRACE", PATIENCE)  # so nobody is slow yet
    good = encoded(picture())
    with running(disc_bundle(discs), held_bytes=30_000, max_body_bytes=30_000) as url:
        with beginning(url, 30_000) as connection:
            connection.sendall(bytes(29_990))
            wait_for(lambda: 'budget_used_bytes{budget="held"} 29990.0' in metrics(url))
            refused = post(url, good)
            assert refused.status_code == 429
            assert refused.json()["type"] == "/problems/bodies-full"
            assert refused.headers["retry-after"] == "1"
            text = metrics(url)
            assert 'pointrend_rejected_total{problem="bodies-full"}' in text
            assert 'problem="queue-full"' not in text
        wait_for(lambda: post(url, good).status_code == 200)  # it left, and its bytes with it
