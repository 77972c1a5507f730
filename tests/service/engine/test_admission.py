"""Room for requests, counted in what they cost."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.admission import Admission
from service.engine.errors import QueueFull, retry_after


def test_requests_are_bounded_in_number() -> None:
    admission = Admission(seconds=100, length=2)
    with admission.place(1), admission.place(1):
        assert admission.pressure == 1
        with pytest.raises(QueueFull) as caught, admission.place(1):
            pass
        assert retry_after(caught.value) == 1  # the first one's cost
    assert (admission.inside, admission.backlog) == (0, 0)
    with admission.place(1):
        pass


def test_requests_are_bounded_by_what_they_cost() -> None:
    admission = Admission(seconds=10, length=100)
    with admission.place(6):
        assert admission.pressure == 0.6
        with admission.place(3):
            pass
        with pytest.raises(QueueFull), admission.place(4.5):
            pass
        with admission.place(4):
            pass


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def told(admission: Admission, cost: float) -> int:
    with pytest.raises(QueueFull) as caught, admission.place(cost):
        pass
    return retry_after(caught.value)


def test_a_refusal_says_when_there_will_be_room() -> None:
    """A full queue of 2 + 3 + 2.5 + 2.5 s."""
    admission = Admission(seconds=10, length=100, clock=(clock := Clock()))
    with ExitStack() as places:
        for cost in (2, 3, 2.5, 2.5):
            places.enter_context(admission.place(cost))
        assert told(admission, 1) == told(admission, 2) == 2  # the first must leave
        assert told(admission, 2.1) == told(admission, 4.5) == 5  # and one of 2.5, due next: 4.5, rounded up
        assert told(admission, 7) == 7
        assert told(admission, 10) == told(admission, 99) == 10  # all of them
        clock.now += 1.2
        assert told(admission, 1) == 1  # of its 2 s
        assert told(admission, 10) == 9
        clock.now += 99
        assert told(admission, 10) == 1  # any moment now


def test_a_full_queue_of_many_small_ones_and_a_large_one() -> None:
    admission = Admission(seconds=1000, length=5, clock=Clock())
    with ExitStack() as places:
        for cost in (40, 1.5, 1.5, 1.5, 1.5):
            places.enter_context(admission.place(cost))
        assert told(admission, 0.1) == 2  # the small ones pass the large one


def test_what_the_prediction_misses_is_learned_from_requests_that_end() -> None:
    """Here each takes thrice its cost, as when other models have the device in between."""
    admission = Admission(seconds=12, length=100, clock=(clock := Clock()))
    with ExitStack() as others:
        for _ in range(2):
            others.enter_context(admission.place(4))
        with admission.place(4):
            assert told(admission, 1) == 4
            clock.now += 12
        with admission.place(4):
            assert told(admission, 1) == 12
            assert told(admission, 12) == 36


def test_a_lone_request_says_nothing_of_the_pace_and_no_client_waits_for_hours() -> None:
    admission = Admission(seconds=12, length=100, clock=(clock := Clock()))
    with admission.place(4):
        clock.now += 1000
    with admission.place(12):
        assert told(admission, 1) == 12
    with admission.place(999):
        assert told(admission, 1) == 60


def test_a_lone_request_is_always_let_in() -> None:
    admission = Admission(seconds=1, length=1)
    with admission.place(50):
        assert admission.pressure == 50


@given(st.lists(st.floats(0, 5), max_size=30))
def test_the_backlog_never_passes_its_limit_and_ends_at_nothing(costs: list[float]) -> None:
    admission = Admission(seconds=10, length=8)
    with ExitStack() as places:
        for cost in costs:
            try:
                places.enter_context(admission.place(cost))
            except QueueFull as full:
                assert 1 <= retry_after(full) <= 60
            assert admission.inside <= 8
            assert admission.inside == 1 or admission.backlog <= 10 + 1e-9
    assert (admission.inside, admission.backlog) == (0, 0)
