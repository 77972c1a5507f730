"""Room for requests, counted in what they cost."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.errors import QueueFull, retry_after
from service.engine.queue.admission import PATIENCE, Admission


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
    admission = Admission(seconds=80, length=100)
    with ExitStack() as places:
        for _ in range(8):
            places.enter_context(admission.place(9))
        assert admission.pressure == 0.9
        with admission.place(3):
            pass
        with pytest.raises(QueueFull), admission.place(8.5):
            pass
        assert admission.promised == 1


def test_room_that_is_promised_is_no_room_for_others() -> None:
    admission = Admission(seconds=100, length=4, clock=(clock := Clock()))
    with admission.place(1), admission.place(1):
        assert admission.fullness == 0.5
        with admission.place(1), admission.place(1):
            for _ in range(2):
                told(admission, 1)
            assert admission.fullness == 1
        assert (admission.pressure, admission.fullness) == (0.5, 1)
        told(admission, 1)
        clock.now += 300 + PATIENCE  # nobody came back
        assert admission.fullness == 0.5


def test_large_requests_leave_half_of_the_queue_to_others() -> None:
    admission = Admission(seconds=16, length=100)
    assert admission.most_seconds == 8
    with admission.place(5, large=True), admission.place(3, large=True):
        told(admission, 2.1, large=True)
        with ExitStack() as small:
            for _ in range(3):
                small.enter_context(admission.place(1))


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def told(admission: Admission, cost: float, large: bool = False) -> int:
    with pytest.raises(QueueFull) as caught, admission.place(cost, large=large):
        pass
    return retry_after(caught.value)


def full(clock: Clock) -> tuple[Admission, list[ExitStack]]:
    """A queue of four requests of 1 s, which is as many as it holds, and the places of those inside."""
    admission = Admission(seconds=1000, length=4, clock=clock)
    return admission, [entered(admission) for _ in range(4)]


def entered(admission: Admission) -> ExitStack:
    """The place of a request that comes now."""
    place = ExitStack()
    place.enter_context(admission.place(1))
    return place


@pytest.mark.parametrize(
    ("cost", "later", "wait"),
    [
        (1, 0, 2),  # the first must leave
        (2, 0, 2),
        (2.1, 0, 4),  # and the next
        (9.9, 0, 10),
        (1, 1.2, 1),  # of its 2 s
        (1, 99, 1),  # any moment now
    ],
)
def test_a_refusal_says_when_there_will_be_room(cost: float, later: float, wait: int) -> None:
    """A full queue of 40 requests of 2 s each."""
    admission = Admission(seconds=80, length=100, clock=(clock := Clock()))
    with ExitStack() as places:
        for _ in range(40):
            places.enter_context(admission.place(2))
        clock.now += later
        assert told(admission, cost) == wait


def test_large_requests_wait_for_each_other_alone() -> None:
    """A queue of 80 s with large requests of 40 s, which is all that they may take."""
    admission = Admission(seconds=80, length=100, clock=Clock())
    with ExitStack() as places:
        for _ in range(2):
            places.enter_context(admission.place(20, large=True))
        assert [told(admission, 15, large=True) for _ in range(3)] == [20, 40, 55]
        for _ in range(20):  # what is promised to large ones is nothing to the others
            places.enter_context(admission.place(2))
        assert told(admission, 2) == 2


def test_those_who_are_refused_are_told_to_come_one_after_the_other() -> None:
    admission, _ = full(Clock())
    assert [told(admission, 1) for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    assert admission.promised == 6


def test_who_comes_back_as_told_gets_in() -> None:
    """One leaves and one comes back each second. One who comes anew does not get the first place."""
    admission, inside = full(clock := Clock())
    assert [told(admission, 1) for _ in range(4)] == [1, 2, 3, 4]
    inside.pop(0).close()
    clock.now += 0.9
    told(admission, 1)  # there is a place, but it is promised
    clock.now += 0.1
    inside.append(entered(admission))
    for _ in range(3):
        clock.now += 1
        inside.pop(0).close()
        inside.append(entered(admission))
    assert admission.inside == 4


def test_a_promise_that_nobody_takes_is_forgotten() -> None:
    admission, inside = full(clock := Clock())
    assert told(admission, 1) == 1
    inside.pop().close()
    clock.now += 1 + PATIENCE
    assert admission.promised == 1
    clock.now += 0.1
    assert admission.promised == 0


def test_those_who_leave_say_nothing_of_the_pace() -> None:
    admission = Admission(seconds=80, length=100, clock=(clock := Clock()))
    inside = [entered(admission) for _ in range(80)]
    for place in inside[:30]:
        clock.now += 0.003
        with pytest.raises(asyncio.CancelledError), place:
            raise asyncio.CancelledError
    assert admission.backlog == 50
    for _ in range(30):
        inside.append(entered(admission))
    assert told(admission, 5) == 5


def test_promises_are_bounded() -> None:
    """Refusals that nobody comes back for do not send everybody else away for minutes."""
    admission, _ = full(Clock())
    assert max(told(admission, 1) for _ in range(1000)) <= 12
    assert admission.promised == 8


def test_promises_never_leave_the_service_idle() -> None:
    """Half of the queue is free to all who come: those who were told to come back may never do."""
    admission, inside = full(Clock())
    for _ in range(50):
        told(admission, 1)
    for place in inside:
        place.close()
    newcomers = [entered(admission), entered(admission)]
    told(admission, 1)
    assert admission.inside == len(newcomers)


def test_a_full_queue_of_many_small_ones_and_a_large_one() -> None:
    admission = Admission(seconds=1000, length=5, clock=Clock())
    with ExitStack() as places:
        for cost in (40, 1.5, 1.5, 1.5, 1.5):
            places.enter_context(admission.place(cost))
        assert told(admission, 0.1) == 2  # the small ones pass the large one


def test_what_the_prediction_misses_is_learned_from_requests_that_end() -> None:
    """Here each takes thrice its cost, as when something else has the processor in between."""
    admission = Admission(seconds=1000, length=3, clock=(clock := Clock()))
    with ExitStack() as others:
        for _ in range(2):
            others.enter_context(admission.place(4))
        with admission.place(4):
            assert told(admission, 1) == 4
            clock.now += 12
        clock.now += PATIENCE  # the promise is forgotten
        with admission.place(4):
            clock.now += 0.1
            assert told(admission, 1) == 7  # 12 s from the time at which the last one left


def test_a_lone_request_says_nothing_of_the_pace_and_no_client_waits_for_hours() -> None:
    for cost, seconds in ((12, 12), (999, 300)):
        admission = Admission(seconds=12, length=1, clock=(clock := Clock()))
        with admission.place(4):
            clock.now += 1000
        with admission.place(cost):
            assert told(admission, 1) == seconds


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
                assert 1 <= retry_after(full) <= 300
            assert admission.inside <= 8
            assert admission.inside == 1 or admission.backlog <= 10 + 1e-9
    assert (admission.inside, admission.backlog) == (0, 0)
