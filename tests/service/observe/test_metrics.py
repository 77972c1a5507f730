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


def test_budgets_and_decoding_processes_are_read_when_they_are_asked_for() -> None:
    metrics = Metrics()
    now = {"used": 3.0, "alive": 2.0, "killed": 0.0}
    metrics.state.show_budget("decode", 700, lambda: now["used"])
    metrics.state.show_budget("held", 300, lambda: 1)
    metrics.state.show_decoders(lambda: now["alive"], lambda: now["killed"])
    now |= {"used": 5.0, "alive": 1.0, "killed": 4.0}
    text = metrics.text().decode()
    for line in (
        'pointrend_budget_bytes{budget="decode"} 700.0',
        'pointrend_budget_bytes{budget="held"} 300.0',
        'pointrend_budget_used_bytes{budget="decode"} 5.0',
        'pointrend_budget_used_bytes{budget="held"} 1.0',
        "pointrend_decode_processes 1.0",
        "pointrend_decode_processes_killed 4.0",
    ):
        assert f"\n{line}\n" in text
