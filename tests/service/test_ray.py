"""Two replicas on a local Ray: load spreads, a killed replica loses no request, its metrics stand beside Ray's."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.client import Client, Retries
from tests.parity.goldens import FOLDER
from tests.service.support import wait_for

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # Ray's own are not ours to mend
]

COFFEE = (FOLDER / "coffee.png").read_bytes()
PORT, METRICS = 8431, 8432


@pytest.fixture
def url(exported: Callable[[str], Path]) -> Iterator[str]:
    from ray import serve

    from service.ray_app import Scale, application

    ray.init(num_cpus=2, include_dashboard=False, _metrics_export_port=METRICS, logging_level="WARNING")
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    scale = Scale(bundles=str(exported("tiny_r50")), cpus=1, min_replicas=2, max_replicas=2)
    serve.run(application(scale), name="pointrend")
    yield f"http://127.0.0.1:{PORT}"
    serve.shutdown()
    ray.shutdown()


def answered() -> dict[str, float]:
    """Requests answered 200 by replica, as Prometheus would see them."""
    families = text_string_to_metric_families(httpx.get(f"http://127.0.0.1:{METRICS}/metrics").text)
    return {
        sample.labels["replica"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "ray_pointrend_request_seconds_count"
        and (sample.labels["route"], sample.labels["status"]) == ("/segment", "200")
    }


def replicas() -> list[int]:
    """Process ids."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_text().startswith("ray::ServeReplica:pointrend:pointrend"):
                found.append(int(folder.name))
        except OSError:  # ended meanwhile
            continue
    return found


def test_two_replicas(url: str) -> None:
    with Client(url, retries=Retries(seconds=100)) as client, ThreadPoolExecutor(4) as threads:
        first = list(threads.map(lambda _: client.segment(COFFEE, score=0.05), range(24)))
        assert all(len(each.instances) == len(first[0].instances) > 0 for each in first)
        wait_for(lambda: sum(answered().values()) == 24, 60)
        assert len(answered()) == 2 and min(answered().values()) > 5, answered()

        victim, _ = replicas()
        later = [threads.submit(client.segment, COFFEE, score=0.05) for _ in range(30)]
        wait_for(lambda: any(each.done() for each in later))
        os.kill(victim, signal.SIGKILL)
        assert all(len(each.result().instances) == len(first[0].instances) for each in later)
        wait_for(lambda: len(set(replicas()) - {victim}) == 2, 90)  # Ray started another one
