"""A load of real clients, who post a photo again and again and write down what they got."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import httpx

from pointrend_client import Client, ClientError
from tests.docker.engine.support.project import PATIENCE
from tests.paths import ROOT
from tests.service.support import wait_for

PHOTO = (ROOT / "examples/astronaut.jpg").read_bytes()
JPEG = {"content-type": "image/jpeg"}
LONGEST_WAIT = 2.0  # seconds that a bare client waits if it is told to come back, whatever Retry-After says

Post = Callable[
    [threading.Event], int | str
]  # what it got; the event says that nothing need be waited for any more
Kind = Callable[[str], AbstractContextManager[Post]]


@dataclass(frozen=True)
class Load:
    """What the clients have got so far: statuses, and failures by their kind."""

    answers: Counter[int | str] = field(default_factory=Counter)

    @property
    def served(self) -> int:
        """How many photos were segmented."""
        return self.answers[200]

    @property
    def lost(self) -> dict[int | str, int]:
        """What no client should get: anything but an answer, or being told to come back."""
        return {what: count for what, count in self.answers.items() if what not in (200, 429)}

    def wait_for_answers(self, count: int) -> None:
        """Wait until so many more photos are segmented."""
        wanted = self.served + count
        wait_for(lambda: self.served >= wanted, PATIENCE)


@contextmanager
def load(kind: Kind, url: str, clients: int) -> Iterator[Load]:
    """Let so many clients of a kind post until the block ends; then their last answers are awaited."""
    found, ended = Load(), threading.Event()

    def go_on() -> None:
        with kind(url) as send:
            while not ended.is_set():
                found.answers[send(ended)] += 1

    threads = [threading.Thread(target=go_on) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextmanager
def bare(url: str) -> Iterator[Post]:
    """A client that sends each request once."""
    with httpx.Client(headers=JPEG, timeout=PATIENCE) as client:

        def send(ended: threading.Event) -> int | str:
            try:
                answer = client.post(f"{url}/segment", params={"resolution": 28}, content=PHOTO)
            except httpx.TransportError as error:
                return type(error).__name__
            if answer.status_code == 429:
                ended.wait(min(LONGEST_WAIT, float(answer.headers["retry-after"])))
            return answer.status_code

        yield send


@contextmanager
def patient(url: str) -> Iterator[Post]:
    """A client of the project, which sends a request again where that can help."""
    with Client(url, timeout=PATIENCE) as client:

        def send(_: threading.Event) -> int | str:
            try:
                client.segment(PHOTO, resolution=28)
            except ClientError as error:
                return f"{type(error).__name__}: {error}"
            return 200

        yield send
