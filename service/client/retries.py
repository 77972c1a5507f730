"""Which failures are worth another attempt, and when it is made. Requests only read, so each may be sent again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from service.client.errors import ClientError, Refused, Unavailable

AGAIN = frozenset((429, 502, 503, 504))
LONGEST_WAIT = 60.0  # seconds between two attempts


@dataclass(frozen=True)
class Retries:
    """How often to try, and how long to wait: Retry-After if it is given, else twice as long each time."""

    attempts: int = 5
    first_wait: float = 0.2  # seconds

    def waits(self) -> Iterator[float]:
        """Yield the seconds before each further attempt, for where the service names none."""
        for n in range(self.attempts - 1):
            # Random, so that clients who were refused together do not come back together.
            yield min(LONGEST_WAIT, self.first_wait * 2**n * random.uniform(0.5, 1.5))


def seconds_to_next_attempt(
    outcome: httpx.Response | httpx.TransportError, waits: Iterator[float]
) -> float | None:
    """Return the seconds until the next attempt, or None if the outcome is a successful response.

    Raises Refused if another attempt would not help, and Unavailable if there are no waits left.
    """
    if isinstance(outcome, httpx.Response):
        if outcome.is_success:
            return None
        failure = _failure(outcome)
        asked = outcome.headers.get("retry-after", "")
    else:
        failure, asked = Unavailable(f"no answer: {outcome!r}"), ""
        if isinstance(outcome, httpx.ReadTimeout):
            raise failure  # the answer is being computed, and would take as long once more
    if isinstance(failure, Refused):
        raise failure
    wait = next(waits, None)
    if wait is None:
        raise failure
    # Random here, too: many clients may have been told the same time.
    return min(LONGEST_WAIT, float(asked) * random.uniform(1, 1.5)) if asked.isdecimal() else wait


def _failure(response: httpx.Response) -> ClientError:
    problem = _problem(response)
    message = f"{response.status_code}: {problem.get('detail', response.reason_phrase)}"
    # What stands before the service (Ray, some proxies) answers 500 without a problem when a replica dies.
    may_succeed = response.status_code in AGAIN or (response.status_code == 500 and not problem)
    return Unavailable(message, problem) if may_succeed else Refused(message, problem)


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:  # the page of a proxy
        return {}
    return found if isinstance(found, dict) else {}
