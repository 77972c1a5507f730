"""Grafana's files against the types that Grafana publishes, and against where Compose mounts them.

The package grafana-foundation-sdk is generated from Grafana's own schemas: of dashboards, of each kind of panel, and of
Prometheus' queries. There is none for the files of provisioning. Grafana itself is not started.
"""

from __future__ import annotations

import copy
import enum
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.docker.tools import DOCKER, ROOT

pytest.importorskip("grafana_foundation_sdk", reason="the extra `deploy` is not installed")

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.runtime import panelcfg_config
from grafana_foundation_sdk.models.dashboard import Dashboard

GRAFANA = DOCKER / "grafana"
register_default_plugins()


@pytest.fixture
def dashboard() -> dict[str, Any]:
    return json.loads((GRAFANA / "dashboards/pointrend.json").read_text())


def unknown(given: Any, understood: Any, where: str) -> Iterator[str]:
    """Yield what is in a file and not in what Grafana's types make of it."""
    if isinstance(given, dict) and isinstance(understood, dict):
        for name, value in given.items():
            if name in understood:
                yield from unknown(value, understood[name], f"{where}.{name}")
            else:
                yield f"{where}.{name} is not known"
    elif isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        for index, pair in enumerate(zip(given, understood, strict=True)):
            yield from unknown(*pair, f"{where}[{index}]")
    elif given != understood:
        yield f"{where} is understood as {understood!r}"


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of the type that it is declared to have."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in (object, typing.Any):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if origin is list:
        return isinstance(value, list) and all(fits(each, inner[0]) for each in value)
    if origin is typing.Literal:
        return value in inner
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [member.value for member in hint]
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return isinstance(value, origin or hint)


def wrong(thing: Any, where: str) -> Iterator[str]:
    """Yield the values of an object of Grafana's types, and of those in it, that are of another type than declared."""
    for name, hint in typing.get_type_hints(type(thing)).items():
        value = getattr(thing, name)
        if not fits(value, hint):
            yield f"{where}.{name} is {value!r}, not {hint}"
        for each in value if isinstance(value, list) else [value]:
            if hasattr(each, "to_json"):
                yield from wrong(each, f"{where}.{name}")


def faults(dashboard: dict[str, Any]) -> list[str]:
    read = Dashboard.from_json(dashboard)
    written = json.loads(JSONEncoder().encode(read))
    return [*unknown(dashboard, written, "dashboard"), *wrong(read, "dashboard")]


def test_the_dashboard_is_one_by_grafana_s_types(dashboard: dict[str, Any]) -> None:
    assert faults(dashboard) == []
    kinds = {panel["type"] for panel in dashboard["panels"]} - {"row"}
    assert kinds and all(panelcfg_config(kind) for kind in kinds)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("panels", 1, "gridPos", "w"), "3", "w is '3'"),
        (("panels", 1, "fieldConfig", "defaults", "unitt"), "s", "unitt is not known"),
        (("panels", 1, "targets", 0, "format"), "timeseries", "format_val is 'timeseries'"),
        (
            ("panels", 5, "fieldConfig", "defaults", "custom", "stacking", "mode"),
            "stacked",
            "mode is 'stacked'",
        ),
    ],
)
def test_a_fault_is_found(dashboard: dict[str, Any], path: tuple[Any, ...], value: str, said: str) -> None:
    """So that the test before this one can fail."""
    changed = copy.deepcopy(dashboard)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert any(said in fault for fault in faults(changed)), faults(changed)


def test_what_is_provisioned_is_where_compose_puts_it(dashboard: dict[str, Any]) -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    (folder,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/pointrend.yml").read_text())["providers"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])
    assert {target: (ROOT / at).resolve() for at, target in mounts.items()} == {
        "/etc/grafana/provisioning": GRAFANA / "provisioning",
        folder["options"]["path"]: GRAFANA / "dashboards",
    }
    home = compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder['options']['path']}/pointrend.json"
    assert source["url"] == "http://prometheus:9090" and "prometheus" in compose
    asked = {panel["datasource"]["uid"] for panel in dashboard["panels"] if "datasource" in panel}
    assert asked == {source["uid"]}
