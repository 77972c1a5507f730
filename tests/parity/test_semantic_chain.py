"""Semantic segmentation against the recorded run: stage by stage, and the whole chain, eager and exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from export.bundle import open_bundle
from model.checkpoints.semantic_eager import eager_semantic
from tests.parity.goldens import SEMANTIC, Golden, load
from tests.parity.measures import Figure
from tests.parity.semantic import STAGES, chain


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_stage(stage: Callable[[Golden], list[Figure]]) -> None:
    figures = stage(load(SEMANTIC))
    assert figures
    assert [f for f in figures if not f.good] == []


def test_eager() -> None:
    golden = load(SEMANTIC)
    assert [f for f in chain(golden, eager_semantic(golden.semantic)) if not f.good] == []


def test_exported(exported: Callable[[str], Path]) -> None:
    bundle = open_bundle(exported("tiny_semantic"))
    assert [f for f in chain(load(SEMANTIC), bundle.predictor) if not f.good] == []
