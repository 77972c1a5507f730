"""A real Prometheus with our rules scrapes a real server: every panel's query has an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.http.stream import MEDIA_TYPE
from tests.docker.prometheus import MAY_BE_EMPTY, all_rules, ask, firing, without_answer
from tests.docker.tools import COFFEE, DOCKER, PNG, free_port, process, serve_command, succeeds, tool
from tests.service.support import wait_for

LINES = {"accept": MEDIA_TYPE}
REQUESTS: tuple[dict[str, Any], ...] = (
    {"score": 0.05},
    {"score": 0.05, "resolution": 28},
    {"score": 0.05, "resolution": 896, "deadline_ms": 60},
    {"resolution": 29},
)


@pytest.fixture
def prometheus(exported: Callable[[str], Path], tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes a server, which has answered requests of all kinds."""
    program = tool("prometheus", "Debian's prometheus")
    port, own = free_port(), free_port()
    config = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())
    # A scrape each second instead of each ten, and a fixed address instead of a name; the rest is as shipped.
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DOCKER / "prometheus/rules/*.yml")]
    (job,) = (each for each in config["scrape_configs"] if each["job_name"] == "pointrend")
    job.pop("dns_sd_configs")
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    scrape = [program, f"--config.file={tmp_path / 'prometheus.yml'}"]
    scrape += [f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{own}"]
    serve = serve_command(exported("tiny_r50"), "127.0.0.1", port)
    with ExitStack() as stack:
        stack.enter_context(process(serve, tmp_path / "server.log"))
        stack.enter_context(process(scrape, tmp_path / "prometheus.log"))
        url, service = f"http://127.0.0.1:{own}", f"http://127.0.0.1:{port}"
        wait_for(lambda: succeeds(f"{service}/readyz") and succeeds(f"{url}/-/ready"), 120)
        # A rate is the growth between two scrapes, so every series must be there before it grows.
        for answered in range(2):
            statuses = {
                httpx.post(
                    f"{service}/segment", params=p, content=COFFEE, headers=PNG | accepted, timeout=60
                ).status_code
                for p in REQUESTS
                for accepted in ({}, LINES)
            }
            assert {200, 422} <= statuses
            count = f'pointrend_request_seconds_count{{route="/segment",status="200"}} > {4 * answered}'
            wait_for(lambda count=count: bool(ask(url, count)), 60)
        yield url


def test_every_panel_and_rule_has_an_answer(prometheus: str) -> None:
    # Rates need two scrapes, and rules an evaluation after those.
    try:
        wait_for(lambda: not without_answer(prometheus) - MAY_BE_EMPTY, 60)
    except AssertionError:
        assert without_answer(prometheus) - MAY_BE_EMPTY == set()
    (target,) = ask(prometheus, 'up{job="pointrend"}')
    assert target["value"][1] == "1"
    rules = all_rules(prometheus)
    assert len(rules) > 15
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    assert firing(prometheus) == set()
