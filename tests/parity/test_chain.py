"""The whole chain, picture in and masks out: eager and through the exported bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from export.bundle import open_bundle
from model.checkpoints.eager import eager_predictor
from tests.parity.goldens import ALL, load
from tests.parity.measures import chain


@pytest.mark.parametrize("name", ALL)
def test_eager(name: str) -> None:
    golden = load(name)
    assert [f for f in chain(golden, eager_predictor(golden.checkpoint)) if not f.good] == []


@pytest.mark.parametrize("name", ALL)
def test_exported(name: str, exported: Callable[[str], Path]) -> None:
    bundle = open_bundle(exported(name.rsplit("_", 1)[0]))
    assert [f for f in chain(load(name), bundle.predictor) if not f.good] == []
