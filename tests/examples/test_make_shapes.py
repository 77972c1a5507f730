"""The made-up data set: readable, repeatable, and its masks are what was drawn."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle_codec

from examples import make_shapes
from model.data.coco import CocoDataset, load_coco


def made(out: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> Path:
    options = ["--train", "6", "--val", "2", "--size", "96", *more]
    monkeypatch.setattr(sys, "argv", ["make_shapes.py", "--out", str(out), *options])
    make_shapes.main()
    return out


def loaded(out: Path, split: str) -> CocoDataset:
    return load_coco(out / f"{split}.json", out / "images")


def test_the_files_load_and_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = made(tmp_path / "new" / "shapes", monkeypatch)
    train, val = loaded(out, "train"), loaded(out, "val")
    assert [c.name for c in train.categories] == ["star", "gear", "comb"] == [c.name for c in val.categories]
    assert len(train.records) == 6 and len(val.records) == 2
    assert not train.remarks and all(r.annotations and r.has_masks for r in train.records)
    assert train.records[0].path.read_bytes() != val.records[0].path.read_bytes()


def test_the_seed_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [made(tmp_path / f"{i}", monkeypatch, "--seed", seed) for i, seed in enumerate(("3", "3", "4"))]
    files = [{p.name: p.read_bytes() for p in sorted(folder.rglob("*.*"))} for folder in folders]
    assert files[0] == files[1] and files[0].keys() == files[2].keys() and files[0] != files[2]


def test_masks_are_what_is_visible_of_the_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shape in turn is drawn white, everything else black."""
    different = []
    for white in range(1, 6):  # 0 is the background
        shades = itertools.cycle(255.0 * (np.arange(7) == white))
        monkeypatch.setattr(
            make_shapes, "coloured", lambda size, _, s=shades: np.full((size, size, 3), next(s))
        )
        pixels, shapes = make_shapes.picture(160, np.random.default_rng(5))
        if white <= len(shapes):
            different.append(int(((pixels[..., 0] >= 127) ^ shapes[white - 1][1]).sum()))
    assert len(different) == len(shapes) == 4 and different[-1] == 0
    assert max(different) < 20  # a smooth edge above may darken a pixel that it does not own
    assert not sum(mask.astype(int) for _, mask in shapes).max() > 1


def test_an_annotation_describes_its_mask() -> None:
    mask = np.zeros((40, 50), bool)
    mask[10:20, 5:45] = True
    mask[20:35, 5:45:4] = True  # a comb
    found = make_shapes.annotation(mask)
    assert found["bbox"] == [5, 10, 40, 25] and found["area"] == mask.sum()
    assert (rle_codec.decode(found["segmentation"]) == mask).all()


def test_shapes_have_thin_parts() -> None:
    rng = np.random.default_rng(0)
    for shape in (make_shapes.star, make_shapes.gear, make_shapes.comb):
        cover = make_shapes.coverage([ring * 60 + 64 for ring in shape(rng)], 128)
        assert 0.05 < cover.mean() < 0.6 and ((cover > 0) & (cover < 1)).any()
        row = (cover >= 0.5).astype(int)
        assert max(np.abs(np.diff(row, axis=1)).sum(axis=1)) >= 4  # in and out again, at least twice
