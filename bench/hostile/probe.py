"""Other clients while a service is attacked: `python -m bench.hostile.probe HOST PORT PICTURE CLIENTS`.

They run in a process of their own, so that the attackers' work does not count as waiting for the service. Samples are
written as JSON when standard input ends.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

TIMEOUT = 30.0  # seconds for an attempt, and for all attempts of a request
PAUSE = 0.1  # seconds between two requests of a client that is alone


@dataclass(frozen=True)
class Sample:
    """One request of another client, with all attempts that it took."""

    kind: str  # "small" or "health"
    begin: float  # of the system's monotonic clock, in seconds
    seconds: float  # until the answer
    status: int  # of the last attempt; 0: no answer
    refusals: int = 0  # attempts that were refused


def sample(kind: str, host: str, port: int, body: bytes) -> Sample:
    """Send a request, again after each Retry-After as honest clients do, and return how it went."""
    begin, refusals = time.monotonic(), 0
    while True:
        status, wait = attempt(kind, host, port, body)
        if kind == "health" or wait is None or time.monotonic() + wait - begin > TIMEOUT:
            return Sample(kind, begin, time.monotonic() - begin, status, refusals + (status in (429, 503)))
        refusals += 1
        time.sleep(wait)


def attempt(kind: str, host: str, port: int, body: bytes) -> tuple[int, float | None]:
    """Send a request once, on a new connection. Return the status and the seconds of Retry-After, if there are any."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        if kind == "small":
            connection.request("POST", "/segment", body, {"Content-Type": "image/jpeg"})
        else:
            connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        wait = answer.headers.get("Retry-After")
        return answer.status, None if wait is None else float(wait)
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


def main() -> None:
    """Probe until standard input ends."""
    host, port, picture, clients = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    body, samples, ended = Path(picture).read_bytes(), list[Sample](), threading.Event()

    def loop(kind: str, pause: float) -> None:
        while not ended.is_set():
            samples.append(sample(kind, host, port, body))
            # A client that is refused at once must not turn into an attack of its own.
            ended.wait(max(pause, PAUSE if samples[-1].status != 200 else 0))

    plans = [("health", PAUSE), *([("small", PAUSE if clients == 1 else 0.0)] * clients)]
    threads = [threading.Thread(target=loop, args=plan, daemon=True) for plan in plans]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join(TIMEOUT + 5)
    print(json.dumps([asdict(each) for each in samples]))


if __name__ == "__main__":
    main()
