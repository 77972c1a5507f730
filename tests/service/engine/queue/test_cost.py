"""What requests are expected to cost, and what they may ask for at most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from model.pointrend.levels import total_points, total_work
from model.predict.instance import InstanceOptions
from model.predict.kept.instance import KeptInstances
from model.predict.label_map import LabelMapOptions
from model.predict.predictor import Prompt
from service.engine.errors import ParameterError
from service.engine.queue.cost import CostModel, RequestWork
from service.engine.request import Request
from service.engine.tasks.instance import InstanceTask
from service.engine.tasks.instance_work import InstanceWork, sides
from service.engine.tasks.semantic import SemanticTask
from tests.service.label_maps import street
from tests.service.support import Discs, disc_bundle


@dataclass
class Estimate:
    """The estimate of a model that learns only from what the test tells it."""

    of_instances: InstanceWork

    def expected_work(self, options: InstanceOptions, max_side: int | None) -> float:
        return self.of_instances.expected(options, max_side)

    def learn(self, request: Request) -> None: ...


@pytest.fixture
def work() -> InstanceWork:
    return InstanceWork()


@pytest.fixture
def costs(work: InstanceWork) -> CostModel:
    return CostModel(Estimate(work))


def passed(costs: CostModel, pixels: int, seconds: float) -> None:
    costs.passed([Request("a", b"", padded=(1, pixels))], "idle", seconds)


def test_a_box_pass_is_learned_by_its_boxes_and_changes_nothing_else(costs: CostModel) -> None:
    passed(costs, 1000, 0.1)
    pixels, prompts = costs.coarse(1000), (Prompt((0, 0, 9, 9)),) * 4
    request = Request("a", b"", InstanceOptions(prompts=prompts), padded=(1, 1000))
    request.picture = KeptInstances((), 9, 9)
    costs.passed([request], "full", 0.05)
    assert costs.boxes(4) == pytest.approx(0.05) and costs.boxes(9) == pytest.approx(0.1)
    assert costs.boxes(0) == 0 and costs.coarse(1000) == pixels
    assert costs.total(RequestWork(0, boxes=4)) == costs.boxes(4)
    assert costs.least(RequestWork(0, boxes=4)) <= costs.boxes(4)


def test_costs_are_learned(costs: CostModel, work: InstanceWork) -> None:
    def total(pixels: int, options: InstanceOptions, max_side: int | None = None) -> float:
        return costs.total(RequestWork(pixels, costs.task.expected_work(options, max_side)))

    passed(costs, 1000, 0.1)
    costs.advanced({28: 600, 56: 400}, 0.01)
    work.learn(InstanceOptions(resolution=112), [100, 100])
    each = total_points(112, None) * 1e-5
    assert costs.coarse(500) == pytest.approx(0.05)
    assert total(500, InstanceOptions(resolution=112)) == pytest.approx(0.05 + 2 * each)
    assert total(500, InstanceOptions(resolution=112, max_instances=1)) == pytest.approx(0.05 + each)
    work.learn(InstanceOptions(), [500, 500])
    prompts = (Prompt((0, 0, 1, 1)),) * 7
    work.learn(InstanceOptions(prompts=prompts), [900] * 7)  # says nothing of what detection finds
    assert total(0, InstanceOptions(prompts=prompts)) == pytest.approx(7 * 784 * 1e-5)
    assert total(0, InstanceOptions()) == pytest.approx(2 * 500 * 1e-5)
    assert total(0, InstanceOptions(resolution=448), 28) == pytest.approx(2 * 784 * 1e-5)
    costs.advanced({28: 10}, 1.0)  # a small portion with its overhead
    assert costs.point.value < 0.0015
    for _ in range(300):
        passed(costs, 1000, 0.2)  # work of long ago is forgotten
    assert costs.pixel.value == pytest.approx(2e-4, rel=1e-3)


def test_decoding_and_encoding_are_parts_of_the_cost(work: InstanceWork) -> None:
    costs = CostModel(Estimate(work), threads=2)
    passed(costs, 1000, 0.1)
    costs.decoded(usual=0.5, seconds=1.5)
    assert costs.total(RequestWork(1000, decoding=0.4, encoding=0.2)) == pytest.approx(
        0.1 + (3 * 0.4 + 0.2) / 2
    )


def test_one_image_says_little_of_decoding(costs: CostModel) -> None:
    """A picture that is made to take a hundred times as long as usual makes others no more than 4 times as costly."""
    costs.decoded(usual=0.01, seconds=1.0)
    assert costs.decode.value == 4
    costs.decoded(usual=10.0, seconds=0.0)
    assert costs.decode.value < 0.26


def test_the_least_cost_is_that_of_the_best_times(costs: CostModel) -> None:
    passed(costs, 10**6, 0.1)
    costs.decoded(usual=1.0, seconds=1.0)
    for _ in range(20):  # the machine has other things to do
        passed(costs, 10**6, 5.0)
        costs.decoded(usual=1.0, seconds=9.0)
    assert costs.total(RequestWork(10**6, decoding=1.0)) > 4
    assert costs.least(RequestWork(10**6, decoding=1.0)) == pytest.approx(1.1)


def test_a_start_on_a_busy_machine_does_not_raise_the_least_cost(costs: CostModel) -> None:
    """Otherwise all requests would be refused as too costly, and nothing more would be learned."""
    before = costs.least(RequestWork(1000, points=100.0, decoding=1.0))
    passed(costs, 1000, 60.0)
    costs.advanced({28: 10}, 60.0)
    costs.decoded(usual=1.0, seconds=4.0)
    assert costs.least(RequestWork(1000, points=100.0, decoding=1.0)) == pytest.approx(before)


def test_boxes_cost_what_they_are(work: InstanceWork) -> None:
    boxes = tuple(Prompt((0, 0, size, 9)) for size in (20, 200, 2000))
    assert sides(InstanceOptions(prompts=boxes), 100) == {28: 1, 224: 1, 896: 1}
    assert sides(InstanceOptions(56, prompts=boxes), 100) == {56: 3}
    assert sides(InstanceOptions(max_instances=3), 100) == {896: 3}
    assert sides(InstanceOptions(56), 100) == {56: 100}
    assert work.expected(InstanceOptions(prompts=boxes), None) == sum(
        total_work(side, None) for side in (28, 224, 896)
    )
    assert work.expected(InstanceOptions(prompts=boxes), 112) == sum(
        total_work(side, None) for side in (28, 112, 112)
    )


def test_few_points_are_not_all_that_a_large_mask_costs(work: InstanceWork) -> None:
    cheap, usual = (
        work.expected(InstanceOptions(896, points, prompts=(Prompt((0, 0, 9, 9)),)), None)
        for points in (1, None)
    )
    assert 0.3 * usual < cheap < usual


def test_a_label_map_costs_more_the_larger_it_is() -> None:
    task = SemanticTask(street())
    costs = [task.expected_work(LabelMapOptions(height), None) for height in (64, 128, 256)]
    assert 0 < costs[0] < costs[1] < costs[2]
    assert task.expected_work(LabelMapOptions(256), task.degraded_side) < costs[0]


@pytest.mark.parametrize(
    ("options", "parameter", "says"),
    [
        (LabelMapOptions(8000), "resolution", "a label map of 11429×8000 is too large"),
        (LabelMapOptions(1024, 100_000), "points", "a label map of 1463×1024 may take"),
    ],
)
def test_the_size_of_an_image_tells_what_a_label_map_would_need(
    options: LabelMapOptions, parameter: str, says: str
) -> None:
    check: Callable[..., Any] = SemanticTask(street()).check_size
    check(LabelMapOptions(), 100, 70, 200_000)
    with pytest.raises(ParameterError) as caught:
        check(options, 100, 70, 200_000)
    assert caught.value.parameter == parameter
    assert caught.value.detail.startswith(says)


def test_a_label_map_of_extreme_width_is_refused() -> None:
    check = SemanticTask(street()).check_size
    check(LabelMapOptions(), 100_000, 1, 10**9)
    with pytest.raises(ParameterError, match="a row of the label map would have 30000000 pixels"):
        check(LabelMapOptions(), 30_000_000, 1, 10**9)


@pytest.mark.parametrize("format", ["rle", "polygon"])
def test_encoding_large_boxes_costs_more(format: str) -> None:
    task = InstanceTask(disc_bundle(Discs()))
    many = InstanceOptions(28, prompts=(Prompt((0, 0, 3000, 2000)),) * 99)
    few = InstanceOptions(28, prompts=(Prompt((0, 0, 300, 200)),) * 9)
    assert task.encode_seconds(many, format, 3000, 2000) > 1
    assert task.encode_seconds(few, format, 3000, 2000) < 0.05
    assert task.encode_seconds(InstanceOptions(), format, 3000, 2000) < 0.5
    assert SemanticTask(street()).encode_seconds(LabelMapOptions(), "rle", 3000, 2000) > 0.02
