"""Prometheus' rules and Grafana's dashboard against each other and against what a server exposes."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from service.observe.metrics import Metrics

DOCKER = Path(__file__).parents[2] / "docker"
RULES = sorted((DOCKER / "prometheus/rules").glob("*.yml"))
_NAME = re.compile(r"\b((?:pointrend|process)[_:][a-z0-9_:]+)(?:\{([^}]*)\})?")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for file in RULES
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]


def exposed() -> dict[str, set[str]]:
    """Labels by the name of each sample of a service."""
    found: dict[str, set[str]] = {}
    for registry in (Metrics().registry, _process()):
        for family in registry.collect():
            for name in (
                family.name,
                f"{family.name}_total",
                *(family.name + s for s in ("_bucket", "_sum", "_count")),
            ):
                found[name] = set()
    metrics = Metrics()
    for collector in metrics.registry._collector_to_names:
        for name in metrics.registry._collector_to_names[collector]:
            found.setdefault(name, set()).update(getattr(collector, "_labelnames", ()))
    return found


def _process() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def queries() -> list[str]:
    panels = json.loads((DOCKER / "grafana/dashboards/pointrend.json").read_text())["panels"]
    return [t["expr"] for p in panels for t in p.get("targets", ())] + [r["expr"] for r in rules()]


def test_every_query_asks_for_what_there_is() -> None:
    names, recorded = exposed(), {rule["record"] for rule in rules() if "record" in rule}
    asked = [match.groups() for query in queries() for match in _NAME.finditer(query)]
    assert len(asked) > 40
    for name, selector in asked:
        if ":" in name:
            assert name in recorded, name
            continue
        assert name in names, name
        base = _SUFFIX.sub("", name)
        allowed = names[name] | names.get(base, set()) | {"job", "instance", "le"}
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector or ""):
            assert label in allowed, f"{name} has no label {label}, only {allowed}"


def test_every_recorded_series_is_used() -> None:
    text = " ".join(queries())
    for rule in rules():
        if "record" in rule and not rule["record"].startswith(
            ("pointrend:requests", "pointrend:stage_seconds")
        ):
            assert rule["record"] in text or rule["record"] == "pointrend:goodput:rate5m", rule["record"]


def test_the_dashboard_is_what_its_program_writes() -> None:
    program = runpy.run_path(str(DOCKER / "grafana/dashboard.py"))
    assert (DOCKER / "grafana/dashboards/pointrend.json").read_text() == program["text"]()
    rows: dict[int, int] = {}
    for panel in program["dashboard"]()["panels"]:
        place = panel["gridPos"]
        rows[place["y"]] = rows.get(place["y"], 0) + place["w"]
    assert set(rows.values()) == {24}


def test_every_alert_has_its_section_and_its_test() -> None:
    runbook = (DOCKER.parent / "docs/runbook.md").read_text()
    tests = (DOCKER / "prometheus/tests/alerts.yml").read_text()
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len(alerts) >= 7
    for alert in alerts:
        name = alert["alert"]
        assert f"\n## {name}\n" in runbook
        page = "{{ $externalURL }}/user/runbook.md"  # where docker-compose.yml puts it
        assert alert["annotations"]["runbook_url"] == f"{page}#{name.lower()}"
        assert (
            tests.count(f"alertname: {name}\n        exp_alerts") == 1
            or tests.count(f"alertname: {name}") >= 2
        )
        assert alert["labels"]["severity"] in ("page", "warn")


@pytest.mark.parametrize(
    "command",
    [
        ["check", "config", "prometheus/prometheus.yml"],
        ["check", "rules", *(str(path.relative_to(DOCKER)) for path in RULES)],
        ["test", "rules", "prometheus/tests/alerts.yml"],
    ],
    ids=" ".join,
)
def test_promtool(command: list[str]) -> None:
    if shutil.which("promtool") is None:
        assert not os.environ.get("CI"), ".ci/run installs promtool"
        pytest.skip("promtool (Debian's package prometheus) is not installed")
    done = subprocess.run(["promtool", *command], cwd=DOCKER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
