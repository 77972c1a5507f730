"""The recorded runs, and what is measured of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tests.parity import instance, semantic
from tests.parity.figures import Chain, Stage
from tests.parity.goldens import SEMANTIC


class Kind(NamedTuple):
    """Runs of one kind of model."""

    names: tuple[str, ...]
    stages: tuple[Stage, ...]  # each on the recorded input of that stage
    chain: Chain  # picture in, masks out


KINDS: Mapping[str, Kind] = {
    "pointrend": Kind(
        ("tiny_r50_astronaut", "tiny_r50_coffee", "tiny_x101_coffee"), instance.POINTREND, instance.chain
    ),
    "conv": Kind(("tiny_conv_coffee",), instance.CONV, instance.chain),
    "semantic": Kind((SEMANTIC,), semantic.STAGES, semantic.chain),
}
STAGES = [(name, stage) for kind in KINDS.values() for name in kind.names for stage in kind.stages]
CHAINS = [(name, kind.chain) for kind in KINDS.values() for name in kind.names]
