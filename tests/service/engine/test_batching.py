"""Who shares a pass or a step, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import given
from hypothesis import strategies as st

from model.pointrend.render import FineMap, InstanceRender
from service.engine.batching import Limits, form, ripe, step

LIMITS = Limits(max_wait=1.0, pixels=400, points=1000)


@dataclass(frozen=True)
class Request:
    name: str
    padded: tuple[int, int] = (10, 10)
    since: float = 0.0
    due: float = 0.0


@dataclass(frozen=True)
class Mask:
    count: int
    done: bool = False

    def next_level(self) -> tuple[int, int]:
        return 28, self.count


def names(waiting: list[Request], now: float = 0.0, coming: int = 0) -> tuple[str, str] | None:
    batch = form(waiting, LIMITS, now, coming)
    return batch and ("".join(e.name for e in batch.entries), batch.reason)


def test_nobody_waits() -> None:
    assert names([]) is None


def test_nobody_is_waited_for_unless_somebody_is_coming() -> None:
    waiting = [Request("a")]
    assert names(waiting) == ("a", "idle")
    assert names(waiting, coming=1) is None
    assert names(waiting, now=0.99, coming=1) is None
    assert names(waiting, now=1.0, coming=1) == ("a", "time")
    assert ripe(waiting, LIMITS) == 1.0


def test_a_full_batch_goes_at_once() -> None:
    waiting = [Request(name, due=i) for i, name in enumerate("abcdef")]
    assert names(waiting, coming=9) == ("abcd", "full")


def test_an_item_beyond_the_budget_goes_alone() -> None:
    assert names([Request("a", (100, 100)), Request("b", (100, 100))], coming=1) == ("a", "full")


def test_who_is_due_first_decides_the_size() -> None:
    waiting = [
        Request("a", (20, 5), due=3),
        Request("b", (10, 10), due=2),
        Request("c", (20, 5), due=1),
        Request("d", (10, 10), due=0.5, since=0.5),
    ]
    assert names(waiting) == ("db", "idle")
    assert names(waiting[:3]) == ("ca", "idle")
    assert ripe(waiting, LIMITS) == 1.5


def test_a_step_takes_what_fits_and_at_least_one() -> None:
    masks = [Mask(600), Mask(300), Mask(200), Mask(50)]
    assert step(masks, LIMITS) == masks[:2]
    assert step([Mask(5000), Mask(1)], LIMITS) == [Mask(5000)]
    assert step([], LIMITS) == []


def test_a_step_is_bounded_in_cells_as_well() -> None:
    nothing = torch.zeros(0)
    fine, finished = FineMap(nothing, 0, 0, 4), torch.zeros(448, 448)
    renders = [InstanceRender(fine, nothing, nothing, 0, 896, points=1, logits=finished) for _ in range(30)]
    assert len(step(renders, Limits(max_wait=0, pixels=1, points=8 * 784))) == 2


@given(
    st.lists(
        st.tuples(st.sampled_from([(10, 10), (20, 5), (30, 30)]), st.floats(0, 5), st.floats(0, 50)),
        min_size=1,
        max_size=20,
    ),
    st.floats(0, 10),
)
def test_batches_are_alike_within_budget_and_led_by_who_is_due(
    requests: list[tuple[tuple[int, int], float, float]], now: float
) -> None:
    waiting = [Request(str(i), *request) for i, request in enumerate(requests)]
    batch = form(waiting, LIMITS, now, coming=0)
    assert batch is not None
    assert batch.entries[0].due == min(e.due for e in waiting)
    assert len({e.padded for e in batch.entries}) == 1
    height, width = batch.entries[0].padded
    assert len(batch.entries) * height * width <= max(LIMITS.pixels, height * width)
    left = [e for e in waiting if e not in batch.entries and e.padded == batch.entries[0].padded]
    assert all(e.due >= batch.entries[-1].due for e in left)
    assert batch.reason == "full" or not left
