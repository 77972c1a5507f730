"""The bundle of a semantic network: the same folder as an instance bundle (export/bundle.py), with its own manifest.

coarse.onnx             image → coarse logits and, with a point head, the projected fine map
point_head.safetensors  the point head (absent for a base model alone)
bundle.json             the manifest, with a colour for each class
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import onnxruntime
import torch
from pydantic import TypeAdapter
from torch import Tensor

from export.bundle import (
    GRAPH,
    SCHEMA,
    SMALLEST,
    Bundle,
    BundleError,
    Execution,
    check_files,
    manifest_data,
    open_bundle,
    open_head,
    open_session,
    preprocessing,
    shrink,
    undamaged,
)
from export.semantic_golden import SemanticGolden
from model.config.categories import Category
from model.config.instance import Preprocessing
from model.config.semantic import SemanticPointConfig
from model.masks.palette import Colour, parse_palette
from model.predict.label_map import LabelMapPredictor
from model.predict.semantic_coarse import LabelMapCoarse


@dataclass(frozen=True)
class SemanticManifest:
    """bundle.json."""

    name: str
    task: Literal["semantic"]
    categories: tuple[Category, ...]
    palette: tuple[Colour, ...]
    preprocessing: Preprocessing
    point_head: SemanticPointConfig | None  # None: a base model alone
    fine_channels: int  # of the map the point head was trained on, before projection
    stride: int  # of the coarse logits, in network-input pixels
    opset: int
    files: dict[str, str]  # name → sha256
    source: dict[str, str] = field(default_factory=dict)  # checkpoint's file name, sha256 and notes
    parity: dict[str, Any] = field(default_factory=dict)
    fine_stride: int = 4
    golden: SemanticGolden | None = None  # None: not recorded, as in tests
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if len(self.palette) != len(self.categories):
            raise ValueError(f"{len(self.palette)} colours for {len(self.categories)} classes")

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


_TYPES = TypeAdapter(SemanticManifest)  # a dataclass does not check what it is given


@dataclass(frozen=True)
class SemanticBundle:
    """An opened bundle."""

    manifest: SemanticManifest
    predictor: LabelMapPredictor
    providers: tuple[str, ...]  # what really runs the graph
    release: Callable[[], None] = lambda: None  # memory that is only kept for speed


def open_any_bundle(folder: Path, execution: Execution | None = None) -> Bundle | SemanticBundle:
    """Check every file of a bundle of either task and make it ready to predict. Raises BundleError."""
    task = manifest_data(folder).get("task")
    if task == "semantic":
        return open_semantic_bundle(folder, execution)
    if task == "instance":
        return open_bundle(folder, execution)
    raise BundleError(f"{folder} is for task {task!r}; this version serves 'instance' and 'semantic'")


def read_semantic_manifest(folder: Path) -> SemanticManifest:
    """bundle.json of a semantic bundle, checked. Raises BundleError."""
    data = manifest_data(folder)
    if data.get("task") != "semantic":
        raise BundleError(f"{folder} is for task {data.get('task')!r}, not 'semantic'")

    def build() -> SemanticManifest:
        head, known = data["point_head"], data.get("golden")
        manifest = SemanticManifest(
            **data
            | {
                "categories": tuple(Category(**entry) for entry in data["categories"]),
                "palette": parse_palette(data["palette"]),
                "preprocessing": preprocessing(data["preprocessing"]),
                "point_head": None if head is None else SemanticPointConfig(**head),
                "golden": None if known is None else _golden(known),
            }
        )
        _TYPES.validate_json(manifest.to_json(), strict=True)
        return manifest

    return undamaged(folder, build)


def open_semantic_bundle(folder: Path, execution: Execution | None = None) -> SemanticBundle:
    """Check every file of a semantic bundle and make it ready to predict. Raises BundleError."""
    manifest = read_semantic_manifest(folder)
    check_files(folder, manifest.files, manifest.point_head)
    session = open_session(folder / GRAPH, execution or Execution())
    run = SemanticGraphPass(session)
    predictor = LabelMapPredictor(
        run,
        open_head(folder, manifest.point_head, manifest.fine_channels, len(manifest.categories)),
        manifest.preprocessing,
        manifest.categories,
        manifest.palette,
        manifest.stride,
        manifest.fine_stride,
    )
    return SemanticBundle(manifest, predictor, tuple(session.get_providers()), run.shrink)


def _golden(data: dict[str, Any]) -> SemanticGolden:
    return SemanticGolden(**data | {key: tuple(data[key]) for key in ("classes", "counts")})


@dataclass(frozen=True)
class SemanticGraphPass:
    """The exported coarse pass, called like the eager one. Outputs are views of ONNX Runtime's memory."""

    session: onnxruntime.InferenceSession

    def __call__(self, image: Tensor) -> LabelMapCoarse:
        coarse, *fine = (torch.from_numpy(part) for part in self.session.run(None, {"image": image.numpy()}))
        return LabelMapCoarse(coarse, fine[0] if fine else None)

    def shrink(self) -> None:
        """Give back the memory that the session keeps for speed."""
        shrink(self.session, {"image": torch.zeros(SMALLEST).numpy()})
