"""Room inside, and the cost that it is counted in."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.pointrend.render import total_points, total_work
from model.predict.instance import InstanceOptions, Prompt
from service.engine.admission import Admission, QueueFull
from service.engine.cost import CostModel, sides


def test_requests_are_bounded_in_number() -> None:
    admission = Admission(seconds=100, length=2)
    with admission.place(1), admission.place(1):
        assert admission.pressure == 1
        with pytest.raises(QueueFull) as caught, admission.place(1):
            pass
        assert caught.value.retry_after == 1  # the first one's cost
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
    return caught.value.retry_after


def test_who_is_refused_is_told_when_there_will_be_room() -> None:
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


def test_what_the_prediction_misses_is_learned_from_those_who_leave() -> None:
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


def test_who_is_alone_says_nothing_of_the_pace_and_nobody_waits_for_hours() -> None:
    admission = Admission(seconds=12, length=100, clock=(clock := Clock()))
    with admission.place(4):
        clock.now += 1000
    with admission.place(12):
        assert told(admission, 1) == 12
    with admission.place(999):
        assert told(admission, 1) == 60


def test_one_is_always_let_in() -> None:
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
                assert 1 <= full.retry_after <= 60
            assert admission.inside <= 8
            assert admission.inside == 1 or admission.backlog <= 10 + 1e-9
    assert (admission.inside, admission.backlog) == (0, 0)


def test_costs_are_learned() -> None:
    costs = CostModel()
    costs.saw_pass(1000, 0.1)
    costs.saw_points(1000, 0.01)
    costs.saw_instances(InstanceOptions(resolution=112), [100, 100])
    assert costs.predict(500, InstanceOptions(resolution=112)) == pytest.approx(
        0.05 + 2 * total_points(112, None) * 1e-5
    )
    assert costs.predict(500, InstanceOptions(resolution=112, max_instances=1)) == pytest.approx(
        0.05 + total_points(112, None) * 1e-5
    )
    costs.saw_instances(InstanceOptions(), [500, 500])
    prompts = (Prompt((0, 0, 1, 1)),) * 7
    costs.saw_instances(InstanceOptions(prompts=prompts), [900] * 7)  # says nothing of what detection finds
    assert costs.predict(0, InstanceOptions(prompts=prompts)) == pytest.approx(7 * 784 * 1e-5)
    assert costs.predict(0, InstanceOptions()) == pytest.approx(2 * 500 * 1e-5)
    assert costs.predict(0, InstanceOptions(resolution=448), at_most=28) == pytest.approx(2 * 784 * 1e-5)
    costs.saw_points(10, 1.0)  # a small portion with its overhead
    assert costs.point.value < 0.0015
    for _ in range(300):
        costs.saw_pass(1000, 0.2)  # what is long ago is forgotten
    assert costs.pixel.value == pytest.approx(2e-4, rel=1e-3)


def test_boxes_cost_what_they_are() -> None:
    boxes = tuple(Prompt((0, 0, size, 9)) for size in (20, 200, 2000))
    costs = CostModel()
    assert sides(InstanceOptions(prompts=boxes), 100) == {28: 1, 224: 1, 896: 1}
    assert sides(InstanceOptions(56, prompts=boxes), 100) == {56: 3}
    assert sides(InstanceOptions(max_instances=3), 100) == {896: 3}
    assert sides(InstanceOptions(56), 100) == {56: 100}
    work = sum(total_work(side, None) for side in (28, 224, 896))
    assert costs.predict(0, InstanceOptions(prompts=boxes)) == pytest.approx(work * costs.point.value)
    limited = sum(total_work(side, None) for side in (28, 112, 112))
    assert costs.predict(0, InstanceOptions(prompts=boxes), at_most=112) == pytest.approx(
        limited * costs.point.value
    )


def test_few_points_are_not_all_that_a_large_mask_costs() -> None:
    costs = CostModel()
    cheap, usual = (
        costs.predict(0, InstanceOptions(896, points, prompts=(Prompt((0, 0, 9, 9)),)))
        for points in (1, None)
    )
    assert 0.3 * usual < cheap < usual
