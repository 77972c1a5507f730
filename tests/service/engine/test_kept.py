"""The cache of kept pictures: bytes, time, order of use, owners."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from model.predict.kept.instance import KeptInstances
from service.engine.errors import NotKept
from service.engine.kept import ENTRY_BYTES, Eviction, Keep, KeptPictures

MINE, YOURS = b"mine", b"yours"
PICTURE = KeptInstances((), 10, 10)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Seen:
    """An observer that counts."""

    lookups: Counter[bool] = field(default_factory=Counter)
    evictions: Counter[Eviction] = field(default_factory=Counter)

    def looked_up(self, found: bool) -> None:
        self.lookups[found] += 1

    def evicted(self, reason: Eviction) -> None:
        self.evictions[reason] += 1


def put(kept: KeptPictures, size: int = 90_000, seconds: float = 60, owner: bytes = MINE) -> str | None:
    with kept.making(Keep(owner, seconds), "people", size) as entry:
        if entry is None:
            return None
        entry.picture = PICTURE
        return entry.id


def there(kept: KeptPictures, id: str | None, owner: bytes = MINE) -> bool:
    assert id is not None
    try:
        with kept.using(id, owner) as entry:
            assert entry.picture is PICTURE and entry.model == "people"
    except NotKept:
        return False
    return True


def test_a_picture_is_there_until_its_time_is_over() -> None:
    clock, seen = Clock(), Seen()
    kept = KeptPictures(1_000_000, seen, clock)
    id = put(kept, seconds=60)
    clock.now += 59.9
    assert there(kept, id) and kept.count == 1
    clock.now += 0.1  # using it does not prolong its time
    assert not there(kept, id)
    assert (kept.held, kept.count) == (0, 0)
    assert seen.evictions == {"expired": 1} and seen.lookups == {True: 1, False: 1}


def test_what_was_used_longest_ago_makes_room() -> None:
    seen = Seen()
    kept = KeptPictures(250_000, seen)
    first, second = put(kept), put(kept)
    assert there(kept, first)  # now the second one was used longest ago
    third = put(kept)
    assert (there(kept, first), there(kept, second), there(kept, third)) == (True, False, True)
    assert kept.held == 200_000 and seen.evictions == {"room": 1}


def test_a_picture_that_is_too_large_drops_nobody() -> None:
    kept = KeptPictures(250_000)
    first = put(kept)
    assert put(kept, 250_000) is None
    assert there(kept, first) and kept.held == 100_000


def test_a_picture_in_use_does_not_make_room() -> None:
    clock = Clock()
    kept = KeptPictures(250_000, clock=clock)
    first, second = put(kept), put(kept)
    assert first is not None and second is not None
    with kept.using(first, MINE) as one, kept.using(second, MINE):
        assert put(kept) is None
        clock.now += 60
        kept.expire()
        assert one.picture is PICTURE  # its memory is counted until nobody uses it
        assert (kept.count, kept.held) == (0, 200_000)
        assert put(kept, 1) is not None
    assert kept.held == ENTRY_BYTES + 1 and one.picture is None


def test_a_picture_belongs_to_whoever_sent_it() -> None:
    seen = Seen()
    kept = KeptPictures(1_000_000, seen)
    id = put(kept, owner=MINE)
    refusals = []
    for wrong, owner in ((id, YOURS), (id, b""), ("unknown", MINE)):
        assert wrong is not None
        with pytest.raises(NotKept) as refusal, kept.using(wrong, owner):
            pass
        refusals.append(str(refusal.value))
    assert len(set(refusals)) == 1  # nobody learns that it is there
    assert there(kept, id) and seen.lookups == {False: 3, True: 1}


def test_ids_are_long_and_never_the_same() -> None:
    kept = KeptPictures(10_000_000)
    ids = [put(kept, 0) for _ in range(100)]
    assert len(set(ids)) == 100 and all(id is not None and len(id) >= 32 for id in ids)


def test_entries_without_tensors_are_bounded_too() -> None:
    kept = KeptPictures(10 * ENTRY_BYTES)
    for _ in range(30):
        put(kept, 0)
    assert kept.count == 10


@pytest.mark.parametrize("error", [asyncio.CancelledError, RuntimeError])
def test_without_an_answer_nothing_is_kept(error: type[BaseException]) -> None:
    kept = KeptPictures(1_000_000)
    with suppress(error), kept.making(Keep(MINE, 60), "people", 90_000) as entry:
        assert entry is not None and kept.held == 100_000
        entry.picture = PICTURE
        raise error
    assert (kept.held, kept.count) == (0, 0)
    with kept.making(Keep(MINE, 60), "people", 90_000):
        pass  # a picture that was not made
    assert (kept.held, kept.count) == (0, 0)


def test_memory_is_taken_before_a_picture_is_made() -> None:
    kept = KeptPictures(150_000)
    with kept.making(Keep(MINE, 60), "people", 90_000) as one:
        assert one is not None and kept.count == 0
        assert put(kept) is None


def test_nothing_is_kept_without_a_budget() -> None:
    assert put(KeptPictures(0), 0) is None


def test_the_service_ends_with_nothing_kept() -> None:
    async def run() -> Counter[Eviction]:
        seen = Seen()
        kept = KeptPictures(1_000_000, seen)
        put(kept)
        watching = asyncio.create_task(kept.watch())
        await asyncio.sleep(0)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert (kept.held, kept.count) == (0, 0)
        return seen.evictions

    assert asyncio.run(run()) == {"closed": 1}


def test_pictures_expire_while_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.kept.CHECK_SECONDS", 0)

    async def run() -> None:
        clock = Clock()
        kept = KeptPictures(1_000_000, clock=clock)
        put(kept)
        watching = asyncio.create_task(kept.watch())
        for _ in range(5):
            await asyncio.sleep(0)
        assert kept.count == 1
        clock.now += 60
        for _ in range(5):
            await asyncio.sleep(0)
        assert (kept.held, kept.count) == (0, 0)
        watching.cancel()

    asyncio.run(run())
