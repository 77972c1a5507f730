"""What the comparison with bitmaps of whole pictures is given, and how it measures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.dense.__main__ import HEIGHT, MASKS, WIDTH, boxes, main, ours, theirs
from bench.dense.peers import PROTOTYPES, SIDE, arrays, measured
from model.errors import UserError


def test_boxes_lie_in_the_picture_and_are_the_same_each_time() -> None:
    found = np.array(boxes())
    assert found.shape == (MASKS, 4) and found.tolist() == boxes()
    assert (found[:, :2] >= 0).all() and (found[:, 2:] <= (WIDTH, HEIGHT)).all()
    assert ((found[:, 2:] - found[:, :2]) >= 200).all()


def test_libraries_get_masks_that_are_neither_empty_nor_full() -> None:
    prototypes, coefficients, given = arrays(boxes())
    assert prototypes.shape == (PROTOTYPES, SIDE, SIDE) and given.shape == (MASKS, 4)
    share = (np.einsum("nk,khw->nhw", coefficients, prototypes) > 0).mean((1, 2))
    assert ((share > 0.1) & (share < 0.9)).all()


def test_memory_is_what_a_call_takes_beyond_what_was_held() -> None:
    held = np.ones(200_000_000, np.uint8)  # is there before and after
    found = measured(lambda: np.ones(100_000_000, np.uint8).sum(), 2)
    assert len(held) and found["ms"] > 0
    assert 70 < found["MB"] < 130  # the kernel counts in steps


def test_an_environment_without_the_library_is_named() -> None:
    with pytest.raises(UserError, match=f"{sys.executable} cannot run ultralytics: ModuleNotFoundError"):
        theirs("ultralytics", Path(sys.executable), 1)


def test_a_bundle_of_label_maps_is_refused(exported: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match="is no bundle of instances"):
        main(bundle=exported("tiny_semantic"))


def test_ours_is_measured_on_any_bundle_of_instances(exported: Callable[[str], Path]) -> None:
    found = ours(exported("tiny_r50"), Path("examples/astronaut.jpg"), 1)
    assert found["ms"] > 0 and 0 <= found["MB"] < 200  # a tiny network's second call finds its memory again


def test_peers_need_nothing_of_this_project() -> None:
    code = "import runpy, sys; runpy.run_path('bench/dense/peers.py', run_name='peers'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"model", "export", "service", "torch"} & set(done.stdout.split())
