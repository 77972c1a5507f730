"""The whole chain, picture in and masks out: eager and through the exported bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from export.bundle import open_bundle
from model.checkpoints.eager import eager_predictor
from tests.parity.figures import Chain
from tests.parity.goldens import load, load_any
from tests.parity.runs import CHAINS

EVERY_RUN = pytest.mark.parametrize(("name", "chain"), CHAINS, ids=[name for name, _ in CHAINS])


@EVERY_RUN
def test_eager(name: str, chain: Chain) -> None:
    golden = load(name)
    assert [f for f in chain(golden, eager_predictor(load_any(golden.model))) if not f.good] == []


@EVERY_RUN
def test_exported(name: str, chain: Chain, exported: Callable[[str], Path]) -> None:
    golden = load(name)
    bundle = open_bundle(exported(golden.model))
    assert [f for f in chain(golden, bundle.predictor) if not f.good] == []
