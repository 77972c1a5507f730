"""Writes dashboards/pointrend.json: `python docker/grafana/dashboard.py`. One screen, one question a row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "dashboards" / "pointrend.json"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
SEGMENT = 'route="/segment"'
RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    title: str
    queries: tuple[tuple[str, str], ...]  # expression, legend
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8  # of 24
    stacked: bool = False
    text: str = ""


def ratio(part: str, whole: str) -> str:
    return f"(sum({part}) or vector(0)) / (sum({whole}) > 0)"


REQUESTS = f"rate(pointrend_request_seconds_count{{{SEGMENT}}}{RATE})"
ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Is it healthy?",
        (
            Panel("Replicas", (('sum(up{job="pointrend"})', "up"),), kind="stat", width=3),
            Panel("Models ready", (("sum(pointrend_model_ready)", "ready"),), kind="stat", width=3),
            Panel("Workers dead", (("sum(pointrend_model_alive == bool 0)", "dead"),), kind="stat", width=3),
            Panel(
                "Faults",
                (
                    (
                        ratio(
                            f'rate(pointrend_request_seconds_count{{{SEGMENT},status=~"5.."}}{RATE})',
                            REQUESTS,
                        ),
                        "5xx",
                    ),
                ),
                "percentunit",
                "stat",
                3,
            ),
            Panel(
                "Answers a second, by status",
                ((f"sum by (status) ({REQUESTS})", "{{status}}"),),
                "reqps",
                width=12,
                stacked=True,
            ),
        ),
    ),
    (
        "How long does it take, and where does the time go?",
        (
            Panel(
                "Latency of POST /segment",
                tuple((f'pointrend:request_seconds:p{p}{{route="/segment"}}', f"p{p}") for p in (50, 95, 99)),
                "s",
            ),
            Panel(
                "First masks of a stream, p50 and p95",
                tuple(
                    (
                        f"histogram_quantile({q}, sum by (le) (rate(pointrend_first_mask_seconds_bucket{RATE})))",
                        f"p{int(100 * q)}",
                    )
                    for q in (0.5, 0.95)
                ),
                "s",
                width=4,
            ),
            Panel(
                "Seconds of a request, by stage",
                (
                    (
                        f'sum by (stage) (rate(pointrend_stage_seconds_sum{{stage!="total"}}{RATE}))'
                        f' / on () group_left () (sum(rate(pointrend_stage_seconds_count{{stage="total"}}{RATE})) > 0)',
                        "{{stage}}",
                    ),
                ),
                "s",
                stacked=True,
            ),
            Panel(
                "Step of the renderer, p95",
                (
                    (
                        f"histogram_quantile(0.95, sum by (le, model) (rate(pointrend_step_seconds_bucket{RATE})))",
                        "{{model}}",
                    ),
                ),
                "s",
                width=4,
            ),
        ),
    ),
    (
        "How full are batches and the queue?",
        (
            Panel(
                "Images of a coarse pass",
                (
                    (
                        f"sum by (model) (rate(pointrend_batch_images_sum{RATE})) / "
                        f"sum by (model) (rate(pointrend_batch_images_count{RATE}))",
                        "{{model}}",
                    ),
                ),
                width=6,
            ),
            Panel(
                "Why a pass was not larger",
                ((f"sum by (reason) (rate(pointrend_batches_total{RATE}))", "{{reason}}"),),
                "ops",
                width=6,
                stacked=True,
            ),
            Panel(
                "Padding, share of pixels",
                (
                    (
                        ratio(
                            f'rate(pointrend_batch_pixels_total{{kind="padding"}}{RATE})',
                            f"rate(pointrend_batch_pixels_total{RATE})",
                        ),
                        "padding",
                    ),
                ),
                "percentunit",
                width=4,
            ),
            Panel(
                "Queue, by predicted work",
                (("pointrend_queue_fullness", "{{instance}}"),),
                "percentunit",
                width=4,
            ),
            Panel(
                "Requests inside, by stage",
                (("sum by (stage) (pointrend_queue_requests)", "{{stage}}"),),
                width=4,
                stacked=True,
            ),
        ),
    ),
    (
        "What do people ask for, and what do they get?",
        (
            Panel(
                "Masks a second, by side",
                ((f"sum by (side) (rate(pointrend_masks_total{RATE}))", "{{side}}"),),
                "ops",
                stacked=True,
            ),
            Panel(
                "Points a second, by side of the level",
                ((f"sum by (side) (rate(pointrend_level_points_total{RATE}))", "{{side}}"),),
                "ops",
                stacked=True,
            ),
            Panel(
                "Instances of an answer, p50 and p95",
                tuple(
                    (
                        f"histogram_quantile({q}, sum by (le) (rate(pointrend_instances_bucket{RATE})))",
                        f"p{int(100 * q)}",
                    )
                    for q in (0.5, 0.95)
                ),
            ),
        ),
    ),
    (
        "What was refused, cut short or abandoned, and why?",
        (
            Panel(
                "Problems a second",
                ((f"sum by (problem) (rate(pointrend_rejected_total{RATE}))", "{{problem}}"),),
                "reqps",
                stacked=True,
            ),
            Panel(
                "Coarser than asked for",
                ((f"sum by (why) (rate(pointrend_coarser_total{RATE}))", "{{why}}"),),
                "reqps",
                stacked=True,
            ),
            Panel(
                "Clients that left, by stage",
                ((f"sum by (stage) (rate(pointrend_cancelled_total{RATE}))", "{{stage}}"),),
                "reqps",
                stacked=True,
            ),
        ),
    ),
    (
        "What does it run on?",
        (
            Panel(
                "Memory",
                (('process_resident_memory_bytes{job="pointrend"}', "{{instance}}"),),
                "bytes",
            ),
            Panel(
                "CPU, cores",
                ((f'rate(process_cpu_seconds_total{{job="pointrend"}}{RATE})', "{{instance}}"),),
            ),
            Panel(
                "Models",
                (("pointrend_model_info", "{{model}} {{task}} {{providers}}"),),
                kind="table",
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": top, "w": 24, "h": 1},
                "panels": [],
            }
        )
        left = 0
        for panel in row:
            place = {"x": left, "y": top + 1, "w": panel.width, "h": 6}
            panels.append(_panel(panel, len(panels) + 1, place))
            left += panel.width
        top += 7
    return {
        "uid": "pointrend",
        "title": "PointRend, served",
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "tags": ["pointrend"],
        "templating": {"list": []},
        "annotations": {"list": []},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    table = panel.kind == "table"
    custom = {
        "fillOpacity": 30 if panel.stacked else 5,
        "stacking": {"mode": "normal" if panel.stacked else "none"},
    }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [
            {
                "refId": chr(65 + i),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
                "instant": table,
                "format": "table" if table else "time_series",
            }
            for i, (expression, legend) in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0}
            | ({"custom": custom} if panel.kind == "timeseries" else {}),
            "overrides": [],
        },
        "options": {},
    }


def text() -> str:
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(text())
    print(OUT)
