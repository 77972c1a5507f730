"""Which failures are worth another attempt, and when it is made. Requests only read, so each may be sent again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from pointrend_client.errors import ClientError, Refused, Unavailable, reason

AGAIN = frozenset((429, 502, 503, 504))
LONGEST_WAIT = 10.0  # seconds between two attempts for which the service named no time

Outcome = httpx.Response | httpx.TransportError


@dataclass(frozen=True)
class Retries:
    """For how long a request is tried again, in seconds since it was first sent. 0: not at all.

    A service that says when to come back is busy, and is asked again for `seconds`: ten minutes are twice the longest
    time that ours names. One that says nothing may have gone, and is given up earlier.
    """

    seconds: float = 600.0  # at most, whatever the reason
    silent_seconds: float = 60.0  # instead, where the service does not say when to come back
    connect_seconds: float = 5.0  # instead, where there is no connection: nobody may be there at all
    first_wait: float = 0.2  # doubles with each attempt, where Retry-After does not say when to come back


@dataclass
class Attempts:
    """The attempts of one request, which begin when this is made."""

    retries: Retries
    clock: Callable[[], float] = time.monotonic
    _failed: int = 0
    _begun: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.clock()

    def wait_after(self, outcome: Outcome) -> float | None:
        """Return the seconds until the next attempt, or None if the outcome is a successful response.

        Raises Refused if another attempt would not help, and Unavailable if no time is left for one.
        """
        if isinstance(outcome, httpx.Response) and outcome.is_success:
            return None
        failure = _failure(outcome)
        # An answer that is still being computed would take as long once more.
        if isinstance(failure, Refused) or isinstance(outcome, httpx.ReadTimeout):
            raise failure
        self._failed += 1
        asked = _retry_after(outcome)
        left = self._limit(outcome, asked) - (self.clock() - self._begun)
        if left <= 0 or (asked is not None and asked > left):
            raise self._given_up(failure, asked)
        if asked is None:
            grown = self.retries.first_wait * 2.0 ** min(self._failed - 1, 16)
            return min(left, LONGEST_WAIT, grown * random.uniform(0.5, 1.5))
        # Random, because others may have been told the same time, and never too early.
        return asked + random.uniform(0, 1 + asked / 10)

    def _limit(self, outcome: Outcome, asked: float | None) -> float:
        """Return for how many seconds a request is tried again that failed in this way."""
        most = self.retries.seconds
        if isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout):
            return min(most, self.retries.connect_seconds)
        return most if asked is not None else min(most, self.retries.silent_seconds)

    def _given_up(self, failure: ClientError, asked: float | None) -> Unavailable:
        tried = (
            f"tried {self._failed} times in {self.clock() - self._begun:.0f} s" if self._failed > 1 else ""
        )
        later = f"it says to come back after {asked:.0f} s" if asked else ""
        more = "; ".join(filter(None, (tried, later)))
        return Unavailable(f"{failure} ({more})" if more else str(failure), failure.problem)


def _failure(outcome: Outcome) -> ClientError:
    if isinstance(outcome, httpx.ReadTimeout):
        return Unavailable("no answer in time: the timeout passed")
    if isinstance(outcome, httpx.ConnectTimeout):
        return Unavailable(f"no connection to {_address(outcome)}: nothing answers there")
    if isinstance(outcome, httpx.ConnectError):
        return Unavailable(f"no connection to {_address(outcome)}: {reason(outcome)}")
    if isinstance(outcome, httpx.TransportError):
        return Unavailable(f"no answer from {_address(outcome)}: {reason(outcome)}")
    return failure_of(outcome.status_code, _problem(outcome), outcome.reason_phrase)


def failure_of(status: int, problem: Mapping[str, Any], phrase: str) -> ClientError:
    """Return what is raised for a problem, or for an answer of this status and phrase without one."""
    message = f"{status}: {problem.get('detail', phrase)}"
    # What stands before the service (Ray, some proxies) answers 500 without a problem when a replica dies.
    may_succeed = status in AGAIN or (status == 500 and not problem)
    return Unavailable(message, problem) if may_succeed else Refused(message, problem)


def _address(error: httpx.TransportError) -> str:
    url = error.request.url
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _retry_after(outcome: Outcome) -> float | None:
    """Return the seconds in the header Retry-After, which may be a date as well; None without a usable one."""
    if not isinstance(outcome, httpx.Response):
        return None
    text = outcome.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:  # the page of a proxy
        return {}
    return found if isinstance(found, dict) else {}
