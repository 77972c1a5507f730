"""When a failed request is sent again, and when it is given up, by a clock of the test's own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from pointrend_client import Refused, Retries, Unavailable
from pointrend_client.retries import LONGEST_WAIT, Attempts, Outcome

REQUEST = httpx.Request("POST", "http://service:8000/segment")
REFUSED = httpx.ConnectError("[Errno 111] Connection refused", request=REQUEST)
MINUTE = Retries(seconds=60)


@dataclass
class Clock:
    """Time that passes only when the test says so."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def busy(retry_after: str = "", status: int = 429, detail: str = "the queue is full") -> httpx.Response:
    headers = {"retry-after": retry_after} if retry_after else {}
    return httpx.Response(status, headers=headers, json={"detail": detail}, request=REQUEST)


def until_given_up(attempts: Attempts, clock: Clock, outcome: Outcome) -> tuple[list[float], Unavailable]:
    """The waits before it is given up, and how that is said."""
    waits: list[float] = []
    while True:
        try:
            wait = attempts.wait_after(outcome)
        except Unavailable as error:
            return waits, error
        assert wait is not None
        waits.append(wait)
        clock.now += wait


def test_waits_grow_to_a_bound_until_the_time_is_over() -> None:
    clock = Clock()
    waits, error = until_given_up(Attempts(Retries(60, first_wait=1), clock), clock, busy())
    assert all(0.5 * 2**n <= wait <= 1.5 * 2**n for n, wait in enumerate(waits[:3]))
    assert max(waits) <= LONGEST_WAIT and sum(waits) == pytest.approx(60)
    assert str(error) == f"429: the queue is full (tried {len(waits) + 1} times in 60 s)"


def test_retry_after_is_honoured_and_never_a_moment_too_early() -> None:
    for _ in range(100):
        wait = Attempts(MINUTE, Clock()).wait_after(busy("20"))
        assert wait is not None and 20 <= wait <= 23


def test_a_service_that_says_when_to_come_back_is_asked_again_for_longer_than_a_silent_one() -> None:
    """The longest that ours names is five minutes, and whoever came at once must not be lost for a second such time."""
    for outcome, least, most in ((busy("250"), 500, 600), (busy(), 60, 60), (busy(status=502), 60, 60)):
        clock = Clock()
        waits, _ = until_given_up(Attempts(Retries(), clock), clock, outcome)
        assert least - 1e-6 <= sum(waits) <= most + 1e-6


def test_the_total_bounds_every_kind_of_failure() -> None:
    for outcome in (busy("1"), busy(), REFUSED):
        clock = Clock()
        waits, _ = until_given_up(Attempts(Retries(seconds=3), clock), clock, outcome)
        assert 0 < sum(waits) <= 3 + 2  # told a second, it comes back up to 1.1 s later than that


def test_others_who_were_told_the_same_come_back_at_another_time() -> None:
    waits = {Attempts(MINUTE, Clock()).wait_after(busy("1")) for _ in range(20)}
    assert len(waits) == 20


def test_more_than_five_refusals_are_no_reason_to_give_up() -> None:
    clock = Clock()
    waits, _ = until_given_up(Attempts(MINUTE, clock), clock, busy("1"))
    assert len(waits) > 20


def test_what_comes_after_the_time_is_over_is_not_waited_for() -> None:
    with pytest.raises(Unavailable, match=r"429: the queue is full \(it says to come back after 61 s\)"):
        Attempts(MINUTE, Clock()).wait_after(busy("61"))


def test_retry_after_may_be_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    wait = Attempts(MINUTE, Clock()).wait_after(busy(date, 503))
    assert wait is not None and 15 <= wait <= 23


@pytest.mark.parametrize("text", ["soon", "-1", "²"])
def test_a_retry_after_that_says_nothing_is_ignored(text: str) -> None:
    refusal = httpx.Response(429, headers={"retry-after": text.encode()}, request=REQUEST)
    wait = Attempts(MINUTE, Clock()).wait_after(refusal)
    assert wait is not None and wait < 1


def test_nobody_there_is_believed_after_a_few_seconds() -> None:
    clock = Clock()
    waits, error = until_given_up(Attempts(Retries(60, connect_seconds=5), clock), clock, REFUSED)
    assert sum(waits) == pytest.approx(5)
    assert str(error).startswith("no connection to http://service:8000: connection refused (tried ")


def test_without_time_there_is_one_attempt() -> None:
    for outcome in (busy(), busy("1"), busy("0"), REFUSED):
        with pytest.raises(Unavailable):
            Attempts(Retries(seconds=0), Clock()).wait_after(outcome)


def test_an_answer_that_takes_too_long_is_not_asked_for_again() -> None:
    with pytest.raises(Unavailable, match="no answer in time"):
        Attempts(MINUTE, Clock()).wait_after(httpx.ReadTimeout("", request=REQUEST))


def test_a_refusal_is_final_and_a_success_needs_no_wait() -> None:
    with pytest.raises(Refused, match="422: score"):
        Attempts(MINUTE, Clock()).wait_after(busy(status=422, detail="score"))
    assert Attempts(MINUTE, Clock()).wait_after(httpx.Response(200)) is None


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_succeed_later(status: int) -> None:
    assert Attempts(MINUTE, Clock()).wait_after(busy(status=status)) is not None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.RemoteProtocolError("Server disconnected without sending a response."), "server disconnected"),
        (httpx.ReadError(""), "the connection broke"),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "name or service not known"),
    ],
)
def test_why_there_is_no_answer_is_said_in_words(error: httpx.TransportError, words: str) -> None:
    error.request = REQUEST
    with pytest.raises(Unavailable) as raised:
        Attempts(Retries(seconds=0), Clock()).wait_after(error)
    assert words in str(raised.value) and "Errno" not in str(raised.value) and "(" not in str(raised.value)
