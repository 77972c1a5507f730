"""Replicas on a local Ray: throughput by their number, and what killing one costs the clients.

    python -m bench.scale.ray_scale --bundle bundles/people --image examples/astronaut.jpg --out docs/scale.json

Needs the extra `ray`. All replicas share this machine's cores: it tells what Ray costs and that nothing is lost, and
says nothing of several machines.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import ray
import typer
from ray import serve

from service.client import Client, ClientError, Retries
from service.ray_app import Scale, application

PORT = 8441
SETUPS = ((1, 1), (2, 1), (1, 2))  # replicas, cores of each


@contextmanager
def running(bundle: Path, replicas: int, cores: int) -> Iterator[Client]:
    scale = Scale(bundles=str(bundle), cpus=cores, min_replicas=replicas, max_replicas=replicas)
    serve.run(application(scale), name="pointrend")
    with Client(f"http://127.0.0.1:{PORT}", retries=Retries(10)) as client:
        yield client
    serve.delete("pointrend")


def ask(client: Client, image: bytes) -> tuple[str, float]:
    """ "answered", or what went wrong in spite of retries; seconds."""
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
    """Closed loop; `killed`: the process that is ended after a third of the requests."""
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda _: ask(client, image), range(2 * clients)))  # until the costs are learned
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
        "images_per_second": round(requests / took, 2),
        "p50_seconds": round(median(seconds), 3),
        "p95_seconds": round(quantiles(seconds, n=20)[-1], 3),
    }


def replicas() -> list[int]:
    """Process ids."""
    lines = ((each, each / "cmdline") for each in Path("/proc").glob("[0-9]*"))
    return [int(each.name) for each, line in lines if line.read_bytes().startswith(b"ray::ServeReplica:")]


def main(
    bundle: Annotated[Path, typer.Option(help="Folder of an exported model.")],
    image: Annotated[Path, typer.Option(help="What every request sends.")],
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    requests: Annotated[int, typer.Option(help="Of each measurement.")] = 60,
    clients: Annotated[int, typer.Option(help="At the same time.")] = 8,
) -> None:
    """Measure."""
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
    typer.run(main)
