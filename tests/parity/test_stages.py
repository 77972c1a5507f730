"""Stage by stage on recorded inputs, eager."""

from __future__ import annotations

import pytest

from tests.parity.figures import Stage
from tests.parity.goldens import load
from tests.parity.runs import STAGES


@pytest.mark.parametrize(("name", "stage"), STAGES, ids=[f"{n}-{s.__name__}" for n, s in STAGES])
def test_stage(name: str, stage: Stage) -> None:
    figures = stage(load(name))
    assert figures
    assert [f for f in figures if not f.good] == []
