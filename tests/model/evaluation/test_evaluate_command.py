"""`python -m model evaluate`, from files to files.

A network with random weights finds nothing true. But its own results, taken for the truth, it must find again:
AP 1, whatever the categories are called and numbered.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model.checkpoints.checkpoint import Checkpoint, save
from model.config.categories import Category
from tests.model import label_files, tiny, tiny_semantic
from tests.model.command import Ended, run
from tests.paths import GOLDEN

IMPORTED = {"checkpoint": GOLDEN / "tiny_r50.pkl", "config": GOLDEN / "tiny_r50.yaml"}


def evaluate(**options: object) -> Ended:
    """Run the command with these options."""
    return run("evaluate", *(part for name, value in options.items() for part in (f"--{name}", value)))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return tiny.write_data(tmp_path / "data", 3)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    net = tiny.network(tiny.CONFIG)
    path = tmp_path / "model.safetensors"
    save(path, Checkpoint(net.config, (Category(1, "dark"), Category(2, "bright")), net.state_dict()))
    return path


def renamed(file: Path, categories: dict[int, tuple[int, str]], results: list[dict[str, Any]]) -> Path:
    """The data with new categories for the old ids, and with these results as its annotations."""
    data = json.loads(file.read_text())
    data["categories"] = [{"id": i, "name": name} for i, name in categories.values()]
    data["annotations"] = [
        r | {"id": i, "iscrowd": 0, "category_id": categories[r["category_id"]][0]}
        for i, r in enumerate(results, 1)
        if r["category_id"] in categories
    ]
    path = file.with_name("renamed.json")
    path.write_text(json.dumps(data))
    return path


def test_a_checkpoint_on_a_data_set(pictures: Path, checkpoint: Path) -> None:
    """Other ids and one class unknown to the data; then a few images only; then the results alone."""
    images, out = pictures.parent, pictures.parent / "new" / "out.json"
    ended = evaluate(checkpoint=checkpoint, data=pictures, images=images, out=out)
    assert ended.code == 0
    first = json.loads(out.read_text())
    assert first["image_ids"] == [1, 2, 3] and first["category_ids"] == [1, 2]
    assert {r["image_id"] for r in first["results"]} == {1, 2, 3}
    assert first["metrics"]["box/APl"] is None and "NaN" not in out.read_text()
    printed = ended.out
    assert (
        "box/APl          –\n" in printed and f"box/AP           {first['metrics']['box/AP']:.4f}" in printed
    )

    swapped = renamed(pictures, {2: (1, "bright"), 1: (7, "dark")}, first["results"])
    assert evaluate(checkpoint=checkpoint, data=swapped, images=images, limit=1, out=out).code == 0
    few = json.loads(out.read_text())
    assert few["metrics"]["box/AP"] == pytest.approx(1)
    assert few["image_ids"] == [1] == sorted({r["image_id"] for r in few["results"]})

    assert evaluate(results=out, data=swapped, out=out).code == 0
    assert json.loads(out.read_text()) == few

    partly = renamed(pictures, {1: (5, "dark"), 2: (6, "other")}, first["results"])
    ended = evaluate(checkpoint=checkpoint, data=partly, images=images, out=out)
    assert ended.code == 0
    assert json.loads(out.read_text())["metrics"]["box/AP"] == pytest.approx(1)
    assert "only the categories that the checkpoint knows: dark\n" in ended.err


def test_an_imported_checkpoint_takes_the_classes_of_the_data(pictures: Path) -> None:
    names = {i: (i, f"class_{i}") for i in range(1, 6)}
    out = pictures.with_name("out.json")
    data = renamed(pictures, names, [])
    assert evaluate(**IMPORTED, data=data, images=pictures.parent, limit=1, out=out).code == 0
    results = json.loads(out.read_text())["results"]

    data = renamed(pictures, {i: (10 * i, f"thing {i}") for i in names}, results)
    assert evaluate(**IMPORTED, data=data, images=pictures.parent, limit=1, out=out).code == 0
    assert json.loads(out.read_text())["metrics"]["box/AP"] == pytest.approx(1)

    refused = evaluate(**IMPORTED, data=pictures, images=pictures.parent, out=out).error
    assert refused == "error: the checkpoint names no classes and has 5 of them, the data have 2"


def test_mistakes_end_in_one_line(pictures: Path, checkpoint: Path, tmp_path: Path) -> None:
    results, images = tmp_path / "results.json", pictures.parent
    results.write_text("[]")
    foreign = renamed(pictures, {1: (1, "cat"), 2: (2, "dog")}, [])
    whole: dict[str, object] = {"checkpoint": checkpoint, "data": pictures, "images": images}
    mistakes: dict[str, dict[str, object]] = {
        "give either --checkpoint or --results": {"data": pictures},
        "--checkpoint needs --images": {"checkpoint": checkpoint, "data": pictures},
        "go with --checkpoint, not with --results": {"results": results, "data": pictures, "limit": 1},
        "--resolution, --points, --limit": {"results": results, "data": pictures, "resolution": "224"},
        "give --preset or --config, not both": whole | {"preset": "people", "config": IMPORTED["config"]},
        "name a preset or give its config.yaml": whole | {"checkpoint": IMPORTED["checkpoint"]},
        "cannot be written": whole | {"out": tmp_path},
        "the checkpoint's classes (dark, bright) are not among the data's (cat, dog)": whole
        | {"data": foreign},
        "neither a COCO results list": {"results": pictures, "data": pictures},
    }
    for message, options in mistakes.items():
        found = evaluate(**options).error
        assert found.startswith("error: ") and message in found
    for content in ("{}", "[]", '{"images": [], "annotations": 1}', "{"):
        (tmp_path / "data.json").write_text(content)
        found = evaluate(results=results, data=tmp_path / "data.json").error
        assert found.startswith("error: ") and "data.json" in found


def test_a_semantic_checkpoint_on_label_maps(tmp_path: Path) -> None:
    """The same command: the checkpoint decides the task."""
    data, network = label_files.load(tmp_path), tiny_semantic.network()
    path, out = tmp_path / "model.safetensors", tmp_path / "found.json"
    save(path, Checkpoint(network.config, data.labelling.classes, network.state_dict()))
    given = {"data": tmp_path / "data.json", "images": tmp_path, "checkpoint": path}
    ended = evaluate(**given, out=out, limit=2)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].split() == ["IoU", "boundary", "IoU"]
    assert [line.split()[0] for line in lines[1:]] == ["mean", "ground", "disc", "bar", "pixel", "an"]
    found = json.loads(out.read_text())
    assert set(found) == {"metrics", "cost"} and found["cost"]["points"] > 0
    assert f"mean             {found['metrics']['mIoU']:8.4f}" in ended.out
    wrong = evaluate(**given, resolution="no").error
    assert wrong.startswith("error: resolution must be native or a height")
