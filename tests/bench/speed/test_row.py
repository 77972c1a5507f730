"""Tables of speeds: ratios, what changed since an earlier run, and how growth is fitted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.speed import gpu
from bench.speed.growth import Series, draw, report
from bench.speed.row import Row, changes, in_turns, markdown
from bench.speed.scene import scene
from bench.speed.table import read_rows
from model.errors import UserError

BEFORE = [Row("render", 0.2, "plain", 1.0), Row("decode", 0.5, "full", 1.0), Row("gone", 1.0, "x", 1.0)]


def test_a_row_shows_both_times_and_their_ratio() -> None:
    assert BEFORE[0].cells == ("render", "200.0 ms", "plain", "1000.0 ms", "0.20")
    assert markdown(BEFORE).count("\n") == 4


def test_ratios_that_changed_much_are_named() -> None:
    now = [Row("render", 0.3, "plain", 1.0), Row("decode", 0.56, "full", 1.0), Row("new", 9.0, "x", 1.0)]
    assert changes(BEFORE, now).splitlines()[2:] == ["| render | plain | 0.200 | 0.300 | +50% |"]
    assert changes(BEFORE, BEFORE) == "no ratio changed by more than 15%"


def test_an_earlier_run_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    path.write_text(json.dumps([vars(row) for row in BEFORE]))
    assert read_rows(path) == BEFORE
    for text in ("{", '[{"what": 1}]'):
        path.write_text(text)
        with pytest.raises(UserError, match="python -m bench --out FILE"):
            read_rows(path)


def test_works_take_turns() -> None:
    order: list[str] = []
    found = in_turns({name: lambda name=name: order.append(name) for name in "ab"}, 2)  # type: ignore[misc]
    assert order == list("ababab") and list(found) == ["a", "b"]


def test_growth_is_the_exponent_of_a_power(tmp_path: Path) -> None:
    series = Series("work", "side", (10, 100, 1000), (0.01, 0.1 * 10**0.5, 10.0))
    assert series.exponent == pytest.approx(1.5)
    assert "| 1.50 |" in report([series], {"masks": 100, "ours": 50.0, "plain": 1000.0})
    draw([series], tmp_path / "out/growth.png")
    assert (tmp_path / "out/growth.png").stat().st_size > 1000


def test_the_ways_of_the_gpu_benchmark_run_on_the_cpu() -> None:
    """So that only the times are left for the day when there is a GPU."""
    own = scene(1, classes=2)
    gpu.ours([own, own.copied("cpu")], 28, gpu.PRECISIONS["bf16"])
    gpu.on_the_host([own], 28, own.head)
    assert gpu.Measured(2, 5, 28, "fp32", "ours", 10.0, 12.0).cells[-1] == "1,000"
