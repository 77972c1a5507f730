"""What tests ask a running Prometheus."""

from __future__ import annotations

import json
import math
from typing import Any

import httpx

from tests.docker.tools import DOCKER

# Panels that have nothing to show while no client leaves.
MAY_BE_EMPTY = frozenset({"Clients that left, by stage"})


def ask(url: str, query: str) -> Any:
    """Return the series with which Prometheus answers a query."""
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, timeout=30).json()
    assert answer["status"] == "success", (query, answer)
    return answer["data"]["result"]


def all_rules(url: str) -> list[dict[str, Any]]:
    """Return all rules with their state."""
    groups = httpx.get(f"{url}/api/v1/rules", timeout=30).json()["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def firing(url: str) -> set[str]:
    """Return the names of the alerts that fire."""
    return {rule["name"] for rule in all_rules(url) if rule.get("state") == "firing"}


def without_answer(url: str) -> set[str]:
    """Return the titles of panels and the names of recording rules that have no number to show yet."""
    panels = json.loads((DOCKER / "grafana/dashboards/pointrend.json").read_text())["panels"]
    empty = {
        panel["title"]
        for panel in panels
        for wanted in panel.get("targets", ())
        if not _has_number(url, wanted["expr"].replace("$__rate_interval", "5m"))
    }
    names = {rule["name"] for rule in all_rules(url) if rule["type"] == "recording"}
    return empty | {name for name in names if not _has_number(url, name)}


def _has_number(url: str, query: str) -> bool:
    """Return whether a query has a series whose value is a number: a quantile of nothing is none."""
    return any(not math.isnan(float(series["value"][1])) for series in ask(url, query))
