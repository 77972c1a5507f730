"""Manifests of both tasks: what is written comes back, and every other file is refused with one clear line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from export.errors import BundleError
from export.golden import InstanceGolden, SemanticGolden
from export.manifest import MANIFEST, SCHEMA, InstancePart, Manifest, SemanticPart, read_manifest
from model.config.categories import Category
from model.config.instance import PointRendConfig
from model.config.parts import Preprocessing
from model.config.semantic import SemanticPointConfig

INSTANCE = Manifest(
    name="tiny",
    categories=(Category(7, "Hündin"), Category(3, "dog")),
    preprocessing=Preprocessing("RGB", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 96, 192),
    model=InstancePart(
        point_head=PointRendConfig(conv_dim=8),
        score_threshold=0.05,
        max_detections=12,
        golden=InstanceGolden(0.5, "ab"),
    ),
    fine_channels=32,
    opset=18,
    files={"coarse.onnx": "0" * 64, "point_head.safetensors": "1" * 64},
    source={"checkpoint": "model.pkl"},
    parity={"passed": True, "stages": {"fine map": {"difference": 1e-6}}},
)
SEMANTIC = dataclasses.replace(
    INSTANCE,
    model=SemanticPart(
        point_head=SemanticPointConfig(8),
        palette=((1, 2, 3), (255, 0, 9)),
        stride=16,
        golden=SemanticGolden(0.5, (0, 1), ("ab", "cd")),
    ),
)
BARE = [
    dataclasses.replace(m, model=dataclasses.replace(m.model, point_head=None, golden=None))
    for m in (INSTANCE, SEMANTIC)
]


def written(folder: Path, manifest: Manifest, changes: dict[str, Any]) -> Path:
    """Write a manifest with some of its parts changed: "a.b" names a part of a part; None takes one out."""
    data = json.loads(manifest.to_json())
    for name, value in changes.items():
        *parts, last = name.split(".")
        place = data
        for part in parts:
            place = place[part]
        place[last] = value
        if value is None:
            del place[last]
    (folder / MANIFEST).write_text(json.dumps(data))
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(BundleError) as refusal:
        read_manifest(folder)
    message = str(refusal.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("manifest", [INSTANCE, SEMANTIC, *BARE])
def test_manifests_come_back(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    assert read_manifest(tmp_path) == manifest
    assert manifest.schema == SCHEMA


def test_a_manifest_says_its_task() -> None:
    assert (INSTANCE.task, INSTANCE.palette) == ("instance", ())
    assert (SEMANTIC.task, SEMANTIC.palette) == ("semantic", ((1, 2, 3), (255, 0, 9)))


def test_values_are_checked_when_a_manifest_is_made() -> None:
    with pytest.raises(ValidationError, match="opset"):
        dataclasses.replace(INSTANCE, opset="18")  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        INSTANCE.name = "other"  # type: ignore[misc]


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert refused(folder) == f"{folder} is no bundle: it has no {MANIFEST}"


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"text"', "{}", '{"name": "x"}', "\x00\xff"])
def test_a_foreign_manifest_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    assert "is not a bundle's manifest" in refused(tmp_path)


@pytest.mark.parametrize("schema", [SCHEMA + 1, 1, 0, "1"])
def test_another_schema_is_refused(schema: int | str, tmp_path: Path) -> None:
    message = refused(written(tmp_path, INSTANCE, {"schema": schema}))
    assert message.endswith(
        f"has schema {schema!r}; this version reads 2, 3, {SCHEMA}: export the model again"
    )


@pytest.mark.parametrize("schema", [2, 3])
def test_bundles_of_earlier_schemas_are_read(schema: int, tmp_path: Path) -> None:
    written(tmp_path, INSTANCE, {"schema": schema, "model.detector": None})
    assert read_manifest(tmp_path) == INSTANCE


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    message = refused(written(tmp_path, INSTANCE, {"model.task": "panoptic"}))
    assert message.endswith("is for task 'panoptic'; this version serves 'instance', 'semantic'")


@pytest.mark.parametrize("manifest", [INSTANCE, SEMANTIC], ids=["instance", "semantic"])
@pytest.mark.parametrize(
    "changes",
    [
        {"categories": None},
        {"categories": [{"id": 1}]},
        {"categories": "many"},
        {"preprocessing": {"mean": [1, 2, 3], "std": None}},
        {"preprocessing": None},
        {"preprocessing.mean": [1, 2]},
        {"preprocessing.stride": 1.5},
        {"model": None},
        {"model.task": None},
        {"model.point_head": {"colour": 1}},
        {"model.golden": {"score": 1}},
        {"model.colour": 1},
        {"colour": 1},
        {"opset": None},
        {"files": None},
        {"files": ["coarse.onnx", "point_head.safetensors"]},
        {"files": {"coarse.onnx": None}},
        {"fine_channels": "32"},
    ],
    ids=str,
)
def test_a_damaged_manifest_is_refused(manifest: Manifest, changes: dict[str, Any], tmp_path: Path) -> None:
    assert f"{tmp_path / MANIFEST} is damaged: " in refused(written(tmp_path, manifest, changes))


@pytest.mark.parametrize(
    ("manifest", "changes", "message"),
    [
        (INSTANCE, {"model.max_detections": 1.5}, "damaged: model.instance.max_detections: "),
        (SEMANTIC, {"model.palette": [[1, 2, 3]]}, "1 colours for 2 classes"),
        (SEMANTIC, {"model.palette": [[1, 2, 256]] * 2}, "damaged: model.semantic.palette.0.2: "),
        (SEMANTIC, {"model.palette": None}, "damaged: model.semantic.palette: Field required"),
        (SEMANTIC, {"model.stride": "4"}, "damaged: model.semantic.stride: "),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(
    manifest: Manifest, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    assert message in refused(written(tmp_path, manifest, changes))
