"""Which requests share a pass, which renders share a step, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from model.pointrend.features import FineMap
from model.pointrend.instance import InstanceRender
from model.pointrend.regions import RegionMaps, Source
from model.predict.kept.instance import KeptInstances
from service.engine.device.batching import BatchLimits, batch_deadline, choose_step, form_batch
from service.engine.request import Request

LIMITS = BatchLimits(max_wait=1.0, pixels=400, points=1000)


def waiting(name: str, padded: tuple[int, int] = (10, 10), since: float = 0.0, due: float = 0.0) -> Request:
    return Request(name, b"", padded=padded, since=since, due=due)


@dataclass(frozen=True)
class Mask:
    work: int
    done: bool = False

    def next_level(self) -> tuple[int, int]:
        return 28, self.work


def step(masks: list[Any], limits: BatchLimits = LIMITS) -> list[Any]:
    return choose_step(masks, limits)


def names(requests: list[Request], now: float = 0.0, expected: int = 0) -> tuple[str, str] | None:
    batch = form_batch(requests, LIMITS, now, expected)
    return batch and ("".join(request.id for request in batch.requests), batch.reason)


def test_without_requests_there_is_no_batch() -> None:
    assert names([]) is None


def test_a_batch_waits_only_while_another_request_is_being_decoded() -> None:
    one = [waiting("a")]
    assert names(one) == ("a", "idle")
    assert names(one, expected=1) is None
    assert names(one, now=0.99, expected=1) is None
    assert names(one, now=1.0, expected=1) == ("a", "time")
    assert batch_deadline(one, LIMITS) == 1.0


def test_a_request_about_a_kept_picture_is_alone_and_goes_at_once() -> None:
    """A box pass has no images, so nothing can share it, however alike the sizes are."""
    kept = waiting("k", due=2)
    kept.picture = KeptInstances((), 10, 10)
    before, after = waiting("a", due=1), waiting("b", due=3)
    assert names([kept, after], expected=9) == ("k", "full")
    assert names([before, kept, after]) == ("ab", "idle")


def test_a_full_batch_goes_at_once() -> None:
    six = [waiting(name, due=i) for i, name in enumerate("abcdef")]
    assert names(six, expected=9) == ("abcd", "full")


def test_a_request_beyond_the_budget_goes_alone() -> None:
    assert names([waiting("a", (100, 100)), waiting("b", (100, 100))], expected=1) == ("a", "full")


def test_the_request_that_is_due_first_decides_the_size() -> None:
    requests = [
        waiting("a", (20, 5), due=3),
        waiting("b", (10, 10), due=2),
        waiting("c", (20, 5), due=1),
        waiting("d", (10, 10), due=0.5, since=0.5),
    ]
    assert names(requests) == ("db", "idle")
    assert names(requests[:3]) == ("ca", "idle")
    assert batch_deadline(requests, LIMITS) == 1.5


def test_a_step_takes_what_fits_and_at_least_one() -> None:
    masks = [Mask(600), Mask(300), Mask(200), Mask(50)]
    assert step(masks) == masks[:2]
    assert step([Mask(5000), Mask(1)]) == [Mask(5000)]
    assert step([]) == []


def test_a_step_is_bounded_in_cells_as_well() -> None:
    nothing = torch.zeros(0)
    source = Source(RegionMaps(nothing, nothing, nothing), 0, FineMap(nothing, 0, 0, 4))
    finished = torch.zeros(1, 448, 448)
    renders = [InstanceRender(source, 0, 896, points=1, finished=finished) for _ in range(30)]
    assert len(step(renders, BatchLimits(max_wait=0, pixels=1, points=8 * 784))) == 2


@given(
    st.lists(
        st.tuples(st.sampled_from([(10, 10), (20, 5), (30, 30)]), st.floats(0, 5), st.floats(0, 50)),
        min_size=1,
        max_size=20,
    ),
    st.floats(0, 10),
)
def test_batches_are_alike_within_budget_and_led_by_the_request_that_is_due(
    requests: list[tuple[tuple[int, int], float, float]], now: float
) -> None:
    given = [waiting(str(i), *request) for i, request in enumerate(requests)]
    batch = form_batch(given, LIMITS, now, expected=0)
    assert batch is not None
    assert batch.requests[0].due == min(request.due for request in given)
    assert len({request.padded for request in batch.requests}) == 1
    height, width = batch.requests[0].padded
    assert len(batch.requests) * height * width <= max(LIMITS.pixels, height * width)
    left = [r for r in given if r not in batch.requests and r.padded == batch.requests[0].padded]
    assert all(request.due >= batch.requests[-1].due for request in left)
    assert batch.reason == "full" or not left
