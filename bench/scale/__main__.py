"""Replicas on a local Ray: throughput by the number of replicas, and what clients see when one is killed.

    python -m bench.scale --bundle bundles/people --image examples/astronaut.jpg --out docs/scale.json

This needs the extra `ray`. All replicas share this machine's cores, so the figures show what Ray costs and that no
request is lost. They do not show how several machines scale.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import ray
import typer
from ray import serve

from model.command_line import one_line_errors
from pointrend_client import Client, ClientError, Retries
from service.ray_app import Scale, application

PORT = 8441
SETUPS = ((1, 1), (2, 1), (1, 2))  # replicas, cores of each


@contextmanager
def running(bundle: Path, replicas: int, cores: int) -> Iterator[Client]:
    """Run some replicas of the service, and give a client of them."""
    scale = Scale(bundles=str(bundle), cpus=cores, min_replicas=replicas, max_replicas=replicas)
    serve.run(application(scale), name="pointrend")
    try:
        with Client(f"http://127.0.0.1:{PORT}", retries=Retries(seconds=100)) as client:
            yield client
    finally:
        serve.delete("pointrend")


def ask(client: Client, image: bytes) -> tuple[str, float]:
    """Return "answered", or the error that remained after all retries; and the seconds it took."""
    started = time.perf_counter()
    try:
        client.segment(image)
        outcome = "answered"
    except ClientError as error:
        outcome = str(error)
    return outcome, time.perf_counter() - started


def load(
    client: Client, image: bytes, requests: int, clients: int, killed: int | None = None
) -> dict[str, object]:
    """Send requests from clients that wait for their answers. `killed` is a process to kill after a third of them."""
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda _: ask(client, image), range(2 * clients)))  # the service learns the costs
        started = time.perf_counter()
        asked = [pool.submit(ask, client, image) for _ in range(requests)]
        if killed is not None:
            asked[requests // 3].result()
            os.kill(killed, signal.SIGKILL)
        answers = [each.result() for each in asked]
        took = time.perf_counter() - started
    seconds = [each for _, each in answers]
    return {
        "outcomes": dict(Counter(outcome for outcome, _ in answers)),
        "images_per_second": round(sum(outcome == "answered" for outcome, _ in answers) / took, 2),
        "p50_seconds": round(median(seconds), 3),
        "p95_seconds": round(quantiles(seconds, n=20)[-1], 3),
    }


def replicas() -> list[int]:
    """Return the process ids of all replicas on this machine (Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if (process / "cmdline").read_bytes().startswith(b"ray::ServeReplica:"):
                found.append(int(process.name))
    return found


def main(
    bundle: Annotated[Path, typer.Option(help="Folder of an exported model.")],
    image: Annotated[Path, typer.Option(help="The image that every request sends.")],
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    requests: Annotated[int, typer.Option(help="Requests of each measurement.")] = 60,
    clients: Annotated[int, typer.Option(help="Clients at the same time.")] = 8,
) -> None:
    """Measure each setup, print it, and write all of them."""
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    data, found = image.read_bytes(), []
    for count, cores in SETUPS:
        with running(bundle, count, cores) as client:
            result = load(client, data, requests, clients)
            found.append({"replicas": count, "cores_each": cores, **result})
            typer.echo(json.dumps(found[-1]))
            if count == 2:
                result = load(client, data, requests, clients, killed=replicas()[0])
                found.append({"replicas": count, "cores_each": cores, "one_killed": True, **result})
                typer.echo(json.dumps(found[-1]))
    serve.shutdown()
    out.write_text(json.dumps({"requests": requests, "clients": clients, "setups": found}, indent=1) + "\n")


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
