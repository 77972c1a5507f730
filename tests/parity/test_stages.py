"""Stage by stage on recorded inputs, eager."""

from __future__ import annotations

import pytest

from tests.parity.goldens import POINTREND, load
from tests.parity.measures import STAGES, Stage

CASES = [(name, stage) for name in POINTREND for stage in STAGES["pointrend"]]
CASES += [("tiny_conv_coffee", stage) for stage in STAGES["conv"]]


@pytest.mark.parametrize(("name", "stage"), CASES, ids=[f"{n}-{s.__name__}" for n, s in CASES])
def test_stage(name: str, stage: Stage) -> None:
    figures = stage(load(name))
    assert figures
    assert [f for f in figures if not f.good] == []
