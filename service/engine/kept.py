"""Pictures that are kept for a while after their answer, so that more can be asked of them without their pixels.

The cache is bounded by bytes. What was used longest ago makes room, and nothing stays for longer than its client asked.
A picture belongs to whoever sent it: for others it does not exist. All methods are called on the event loop.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from model.predict.headers.georeference import Georeference
from model.predict.kept.picture import KeptPicture
from service.engine.errors import NotKept

# Bytes that each entry counts for beside its tensors, so that the number of entries is bounded, too.
ENTRY_BYTES = 10_000
ID_BYTES = 24  # random ones of an id: it cannot be guessed
CHECK_SECONDS = 1.0  # between two looks for pictures whose time is over

# Why a picture is not kept any longer. expired: its time is over; room: others need its memory; closed: the service
# ends.
Eviction = Literal["expired", "room", "closed"]


class KeptObserver(Protocol):
    """Gets the reports of the cache."""

    def looked_up(self, found: bool) -> None:
        """A client asked for a picture, which was there or not."""
        ...

    def evicted(self, reason: Eviction) -> None:
        """A picture is not kept any longer."""
        ...


@dataclass(frozen=True)
class Keep:
    """Who may use a picture that is to be kept, and for how many seconds."""

    owner: bytes  # who may use it: the digest of an API key, or nothing where none is needed
    seconds: float


@dataclass(eq=False)
class Kept:
    """A kept picture."""

    id: str
    owner: bytes
    model: str
    seconds: float
    bytes: int
    expires: float = 0.0
    users: int = 0  # requests that work with it now
    georeference: Georeference | None = None  # where the picture lies on a map
    picture: KeptPicture | None = field(default=None, repr=False)  # None: not yet


class KeptPictures:
    """The kept pictures of all models of a service, which take at most `limit` bytes together."""

    def __init__(
        self,
        limit: float,
        observer: KeptObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self.held = 0  # bytes, of those that are being made, too
        self._observer = observer
        self._clock = clock
        self._entries: dict[str, Kept] = {}  # in the order of their last use

    @property
    def count(self) -> int:
        """The number of pictures that can be asked for."""
        return len(self._entries)

    def may_hold(self, count: int) -> bool:
        """Return whether a picture of `count` bytes has room if all others make room."""
        return count + ENTRY_BYTES <= self.limit

    @contextmanager
    def making(self, keep: Keep, model: str, count: int) -> Iterator[Kept | None]:
        """Yield an entry for a picture of `count` bytes, whose memory is taken already: None if there is no room.

        The caller sets the picture. It can be asked for when the context is left without an error.
        """
        count += ENTRY_BYTES
        if not self._make_room(count):
            yield None
            return
        entry = Kept(secrets.token_urlsafe(ID_BYTES), keep.owner, model, keep.seconds, count)
        self.held += count
        try:
            yield entry
        except BaseException:
            self._free(entry)
            raise
        if entry.picture is None:
            self._free(entry)
        else:
            entry.expires = self._clock() + entry.seconds
            self._entries[entry.id] = entry

    @contextmanager
    def using(self, id: str, owner: bytes) -> Iterator[Kept]:
        """Yield a kept picture, whose memory stays counted while the context is open. Raise NotKept."""
        self.expire()
        entry = self._entries.get(id)
        found = entry is not None and entry.owner == owner
        if self._observer is not None:
            self._observer.looked_up(found)
        if entry is None or not found:
            raise NotKept(
                "no picture is kept under this id: its time is over, it made room for others, or it belongs to another "
                "API key; send it again to /segment with `keep`"
            )
        self._entries[id] = self._entries.pop(id)  # now the one that was used last
        entry.users += 1
        try:
            yield entry
        finally:
            entry.users -= 1
            if not entry.users and id not in self._entries:
                self._free(entry)

    def expire(self) -> None:
        """Drop the pictures whose time is over."""
        now = self._clock()
        for entry in [each for each in self._entries.values() if each.expires <= now]:
            self._evict(entry, "expired")

    async def watch(self) -> None:
        """Drop pictures whose time is over until it is cancelled, and then all of them."""
        try:
            while True:
                await asyncio.sleep(CHECK_SECONDS)
                self.expire()
        finally:
            for entry in list(self._entries.values()):
                self._evict(entry, "closed")

    def _make_room(self, count: int) -> bool:
        """Drop pictures that nobody uses now, those first that were used longest ago. Return whether so much fits."""
        self.expire()
        idle = [entry for entry in self._entries.values() if not entry.users]
        if self.held - sum(entry.bytes for entry in idle) + count > self.limit:
            return False
        for entry in idle:
            if self.held + count <= self.limit:
                break
            self._evict(entry, "room")
        return True

    def _evict(self, entry: Kept, reason: Eviction) -> None:
        del self._entries[entry.id]
        if not entry.users:
            self._free(entry)
        if self._observer is not None:
            self._observer.evicted(reason)

    def _free(self, entry: Kept) -> None:
        self.held -= entry.bytes
        entry.picture = None
