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

TIMEOUT = 30.0  # seconds, which are the latency of a request without an answer
PAUSE = 0.1  # seconds between two requests of a client that is alone


@dataclass(frozen=True)
class Sample:
    """One request of another client."""

    kind: str  # "small" or "health"
    begin: float  # of the system's monotonic clock, in seconds
    seconds: float
    status: int  # 0: no answer


def sample(kind: str, host: str, port: int, body: bytes) -> Sample:
    """Send one request on a new connection and return how it went."""
    begin, status = time.monotonic(), 0
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        if kind == "small":
            connection.request("POST", "/segment", body, {"Content-Type": "image/jpeg"})
        else:
            connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        status = answer.status
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()
    return Sample(kind, begin, time.monotonic() - begin, status)


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
