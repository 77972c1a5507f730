"""Two replicas on a Ray of its own: load spreads, a killed replica loses nothing, its metrics stand beside Ray's."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pointrend_client import Client
from tests.docker.tools import COFFEE, PNG, free_port, succeeds
from tests.paths import ROOT
from tests.service.ray_programs import START, inside, install, shell
from tests.service.support import wait_for

pytestmark = pytest.mark.slow
PATIENCE = 300.0  # seconds for what takes 20 on a machine that has nothing else to do


@dataclass(frozen=True)
class Cluster:
    process: subprocess.Popen[bytes]
    url: str
    metrics: str

    def replicas(self) -> set[int]:
        """Return the ids of the replicas' processes."""
        return set(inside(self.process, "ray::ServeReplica:pointrend:pointrend"))

    def answered(self) -> dict[str, float]:
        """Return how many requests each replica answered 200, as Prometheus would see it."""
        return {
            sample.labels["replica"]: sample.value
            for family in text_string_to_metric_families(httpx.get(self.metrics).text)
            for sample in family.samples
            if sample.name == "ray_pointrend_request_seconds_count"
            and (sample.labels["route"], sample.labels["status"]) == ("/segment", "200")
        }


@pytest.fixture
def cluster(exported: Callable[[str], Path], tmp_path: Path) -> Iterator[Cluster]:
    """The application of docker/ray/serve.yaml on a host with two processors, with another bundle and port."""
    programs = install(tmp_path / "environment")
    port, metrics, head = free_port(), free_port(), free_port()
    config = yaml.safe_load((ROOT / "docker/ray/serve.yaml").read_text())
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    config["applications"][0]["args"] |= {"bundles": str(exported("tiny_r50")), "max_replicas": 2}
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(config))
    # Paths of sockets must be short.
    with TemporaryDirectory(prefix="ray") as short:
        options = f"--port={head} --metrics-export-port={metrics} --temp-dir={short} --num-cpus=2"
        serve = f"exec serve run --address=127.0.0.1:{head} {tmp_path / 'serve.yaml'}"
        script = START.format(options=options) + serve
        with shell(script, programs, tmp_path / "log") as process:
            found = Cluster(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics}/metrics")
            wait_for(
                lambda: process.poll() is not None or succeeds(f"{found.url}/readyz"),
                PATIENCE,
            )
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            wait_for(lambda: len(found.replicas()) == 2, PATIENCE)
            yield found


def test_two_replicas(cluster: Cluster) -> None:
    bare = httpx.Client(base_url=cluster.url, headers=PNG, timeout=PATIENCE)
    with Client(cluster.url, timeout=PATIENCE) as client, ThreadPoolExecutor(4) as threads:
        first = list(threads.map(lambda _: client.segment(COFFEE, score=0.05), range(24)))
        assert all(len(each.instances) == len(first[0].instances) > 0 for each in first)
        wait_for(lambda: sum(cluster.answered().values()) >= 24, PATIENCE)
        assert len(cluster.answered()) == 2 and min(cluster.answered().values()) > 5, cluster.answered()

        # Requests that a caller sends once: what the killed replica had inside, another one answers.
        before = cluster.replicas()
        victim = min(before)
        later = [threads.submit(bare.post, "/segment", content=COFFEE) for _ in range(30)]
        wait_for(lambda: any(each.done() for each in later), PATIENCE)
        os.kill(victim, signal.SIGKILL)
        assert [each.result().status_code for each in later] == [200] * 30
        wait_for(lambda: len(cluster.replicas() - {victim}) == 2, PATIENCE)  # Ray started another one
    bare.close()
