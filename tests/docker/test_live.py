"""A real Prometheus with our rules scrapes a real server: every panel's query has an answer."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.docker.test_proxy import COFFEE, free_port, process, succeeds
from tests.docker.tools import DOCKER, tool
from tests.service.support import wait_for

# Without a replica in trouble there is nothing to show.
MAY_BE_EMPTY = {"Clients that left, by stage"}

PNG = {"content-type": "image/png"}
ASKED: tuple[dict[str, Any], ...] = (
    {"score": 0.05},
    {"score": 0.05, "resolution": 28},
    {"score": 0.05, "resolution": 896, "deadline_ms": 60},
    {"resolution": 29},
)


@pytest.fixture
def prometheus(exported: Callable[[str], Path], tmp_path: Path) -> Iterator[str]:
    """Its address, after some requests of all kinds."""
    program = tool("prometheus", "Debian's prometheus")
    port, own = free_port(), free_port()
    config = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())
    # One second instead of ten, and a replica without a name server; the rest is as it is shipped.
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DOCKER / "prometheus/rules/*.yml")]
    (job,) = (each for each in config["scrape_configs"] if each["job_name"] == "pointrend")
    job.pop("dns_sd_configs")
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    serve = [
        sys.executable,
        "-m",
        "service",
        "serve",
        "--bundle",
        str(exported("tiny_r50")),
        "--threads",
        "1",
    ]
    scrape = [
        *(
            program,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
        ),
        f"--web.listen-address=127.0.0.1:{own}",
    ]
    with ExitStack() as stack:
        stack.enter_context(process([*serve, "--port", str(port)], tmp_path / "server.log"))
        stack.enter_context(process(scrape, tmp_path / "prometheus.log"))
        url = f"http://127.0.0.1:{own}"
        wait_for(lambda: succeeds(f"http://127.0.0.1:{port}/readyz") and succeeds(f"{url}/-/ready"), 60)
        segment = f"http://127.0.0.1:{port}/segment"
        statuses = set()
        for i in range(24):
            asked = ASKED[i % len(ASKED)]
            statuses.add(
                httpx.post(segment, params=asked, content=COFFEE, headers=PNG, timeout=30).status_code
            )
            time.sleep(0.25)
        assert {200, 422} <= statuses
        time.sleep(2)
        yield url


def ask(url: str, query: str) -> Any:
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", (query, answer)
    return answer["data"]["result"]


def test_every_panel_and_rule_has_an_answer(prometheus: str) -> None:
    (target,) = ask(prometheus, 'up{job="pointrend"}')
    assert target["value"][1] == "1"
    panels = json.loads((DOCKER / "grafana/dashboards/pointrend.json").read_text())["panels"]
    empty = set()
    for panel in panels:
        for wanted in panel.get("targets", ()):
            if not ask(prometheus, wanted["expr"].replace("$__rate_interval", "10s")):
                empty.add(panel["title"])
    assert empty <= MAY_BE_EMPTY, empty
    groups = httpx.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 15
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []
    for rule in rules:
        if rule["type"] == "recording":
            assert ask(prometheus, rule["name"]), rule["name"]
