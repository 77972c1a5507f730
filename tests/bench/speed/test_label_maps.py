"""The memory that a label map may take, measured in a process of its own."""

from __future__ import annotations

from bench.speed.label_maps import measured_alone


def test_a_render_takes_a_fraction_of_a_map_of_all_classes() -> None:
    found = measured_alone(1024)
    assert found["float_map_mb"] > 150
    assert found["extra_mb"] < 90
    assert found["points"] == 2 * 16384
