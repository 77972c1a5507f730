"""What is counted, without a service around it."""

from __future__ import annotations

import re

from service.observe.metrics import Metrics


def counted(metrics: Metrics, name: str) -> dict[str, float]:
    """A metric of one model by the side it is about."""
    found = re.findall(rf'^{name}{{model="m",side="(\d+)"}} (\S+)$', metrics.text().decode(), re.MULTILINE)
    return {side: float(value) for side, value in found}


def test_a_level_has_its_time_and_its_points_under_its_side() -> None:
    metrics = Metrics()
    model = metrics.models.of("m")
    model.advanced({7: 49, 14: 196}, 0.25)  # levels that share a step share its time
    model.advanced({14: 196}, 0.5)
    assert counted(metrics, "pointrend_level_points_total") == {"7": 49, "14": 392}
    assert counted(metrics, "pointrend_level_seconds_count") == {"7": 1, "14": 2}
    assert counted(metrics, "pointrend_level_seconds_sum") == {"7": 0.25, "14": 0.75}


def test_label_maps_of_any_height_have_few_labels() -> None:
    metrics = Metrics()
    model = metrics.models.of("m")
    for height in range(1, 8193):
        model.advanced({height: 1}, 0.01)
    sides = set(counted(metrics, "pointrend_level_seconds_count"))
    assert sides == set(counted(metrics, "pointrend_level_points_total"))
    assert sides == {str(2**n) for n in range(14)} | {"7", "14", "28", "56", "112", "224", "448", "896"}
    model.advanced({1000: 5, 1001: 5}, 0.5)  # two of one label: one step
    assert counted(metrics, "pointrend_level_seconds_count")["1024"] == 1024 - 512 - 1 + 1
