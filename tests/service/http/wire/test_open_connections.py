"""Which connection is closed for a new one."""

from __future__ import annotations

import asyncio
import os
import resource

import pytest

from service.decoding.pool import DecodePool
from service.http.wire import open_files
from service.http.wire.open_connections import REFUSING, OpenConnections
from tests.service.decoding.support import job, picture


class Connected:
    """A connection that remembers whether it was dropped."""

    dropped = False

    def drop(self) -> None:
        self.dropped = True


def test_the_one_that_has_been_idle_for_the_longest_time_leaves() -> None:
    connections = OpenConnections(3)
    first, second, third = members = [Connected() for _ in range(3)]
    for each in members:
        assert connections.admit(each)
        connections.idle(each)
    connections.busy(first)
    connections.idle(first)  # again, but since just now
    connections.busy(third)
    new = Connected()
    assert connections.admit(new)
    assert [each.dropped for each in members] == [False, True, False]
    assert connections.count == 3
    connections.closed(second)  # as it is, a little later
    assert connections.count == 3


def test_without_an_idle_one_nobody_is_admitted() -> None:
    connections = OpenConnections(1)
    busy, new = Connected(), Connected()
    assert connections.admit(busy)
    assert not connections.admit(new)
    connections.idle(new)  # it is not one of them, whatever it says
    assert not connections.admit(Connected())
    connections.closed(busy)
    assert connections.admit(new)


def test_few_are_told_why() -> None:
    connections = OpenConnections(1)
    told = [Connected() for _ in range(REFUSING)]
    assert all(map(connections.refuse, told))
    assert not connections.refuse(Connected())
    connections.closed(told[0])
    assert connections.refuse(Connected())


def test_connections_stay_below_the_limit_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "_open_files", lambda: 20)
    kept = 20 + open_files.RESERVE + open_files.FILES_A_PLACE + 1
    for wanted, limit, most in (
        (None, 128, 128 - kept),
        (None, 30, 1),
        (None, 1 << 20, open_files.MOST),
        (10, 128, 10),
        (1000, 256, 256 - kept),
        (100_000, 1 << 20, 100_000),
    ):
        assert open_files.most_connections(wanted, limit, places=1) == most


def test_connections_leave_files_to_decode_with() -> None:
    places, limits = 32, resource.getrlimit(resource.RLIMIT_NOFILE)

    async def test() -> None:
        pool = DecodePool(places, 2**28)
        most = open_files.most_connections(None, few, places)
        connections = [os.open(os.devnull, os.O_RDONLY) for _ in range(most)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, limits[1]))
        try:
            await pool.start()
            await asyncio.gather(*(pool.decode(job(picture())) for _ in range(places)))
        finally:
            await pool.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for connection in connections:
                os.close(connection)

    few = max(map(int, os.listdir("/proc/self/fd"))) + 200
    asyncio.run(test())


def test_the_limit_of_files_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    for soft, hard, raised in ((64, 512, 512), (64, resource.RLIM_INFINITY, 65_536), (512, 512, 512)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, both=(soft, hard): both)
        assert open_files.raise_limit() == raised
    assert given == [(512, 512), (65_536, resource.RLIM_INFINITY)]
