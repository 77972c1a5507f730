"""Room inside, and the cost that it is counted in."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.predict import Options, Prompt
from model.render import total_points
from service.admission import Admission, QueueFull
from service.cost import CostModel


def test_requests_are_bounded_in_number() -> None:
    admission = Admission(seconds=100, length=2)
    with admission.place(1), admission.place(1):
        assert admission.pressure == 1
        with pytest.raises(QueueFull) as caught, admission.place(1):
            pass
        assert caught.value.retry_after == 1  # the mean of what is inside
    assert (admission.inside, admission.backlog) == (0, 0)
    with admission.place(1):
        pass


def test_requests_are_bounded_by_what_they_cost() -> None:
    admission = Admission(seconds=10, length=100)
    with admission.place(6):
        assert admission.pressure == 0.6
        with admission.place(3):
            pass
        with pytest.raises(QueueFull) as caught, admission.place(11.5):
            pass
        assert caught.value.retry_after == 8  # 6 + 11.5 - 10, rounded up
        with admission.place(4):
            pass


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
    costs.saw_instances(Options(resolution=112), [100, 100])
    assert costs.predict(500, Options(resolution=112)) == pytest.approx(
        0.05 + 2 * total_points(112, None) * 1e-5
    )
    assert costs.predict(500, Options(resolution=112, max_instances=1)) == pytest.approx(
        0.05 + total_points(112, None) * 1e-5
    )
    prompts = (Prompt((0, 0, 1, 1)),) * 7
    costs.saw_instances(Options(prompts=prompts), [500] * 7)  # says nothing of what detection finds
    assert costs.predict(0, Options(prompts=prompts)) == pytest.approx(7 * 500 * 1e-5)
    assert costs.predict(0, Options()) == pytest.approx(2 * 500 * 1e-5)
    assert costs.predict(0, Options(resolution=448), at_most=28) == pytest.approx(2 * 784 * 1e-5)
    costs.saw_points(10, 1.0)  # a small portion with its overhead
    assert costs.point.value < 0.0015
    for _ in range(300):
        costs.saw_pass(1000, 0.2)  # what is long ago is forgotten
    assert costs.pixel.value == pytest.approx(2e-4, rel=1e-3)
