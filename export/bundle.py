"""The bundle: what training hands to serving. A folder that describes itself and is checked when opened.

    coarse.onnx             the coarse pass (see model/predict/coarse.py): dynamic batch, height, width
    point_head.safetensors  the point head (absent for a 4×conv model, whose masks come from the graph)
    bundle.json             the manifest: everything a server must know, and a hash of each file

Opening needs neither `onnx` nor any training package, and unpickles nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import onnxruntime
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from export.cuda import check_installed_cuda
from export.golden import Golden
from model.config.categories import Category
from model.config.instance import PointRendConfig, Preprocessing
from model.pointrend.point_head import PointConfig, PointHead
from model.predict.coarse import InstanceCoarse
from model.predict.instance import InstancePredictor

M = TypeVar("M")
SCHEMA = 1
SMALLEST = (1, 3, 32, 32)  # image that a graph takes
GRAPH, POINT_HEAD, MANIFEST = "coarse.onnx", "point_head.safetensors", "bundle.json"


class BundleError(ValueError):
    """A bundle that is missing, damaged, foreign or newer than this code. One line."""


@dataclass(frozen=True)
class Manifest:
    """bundle.json."""

    name: str
    task: Literal["instance"]
    categories: tuple[Category, ...]
    preprocessing: Preprocessing
    score_threshold: float  # of a box, before its mask may lower the score
    max_detections: int
    point_head: PointRendConfig | None  # None: a 4×conv head
    fine_channels: int  # of the map the point head was trained on, before projection
    opset: int
    files: dict[str, str]  # name → sha256
    source: dict[str, str] = field(default_factory=dict)  # checkpoint's file name, sha256 and notes
    parity: dict[str, Any] = field(default_factory=dict)
    fine_stride: int = 4
    golden: Golden | None = None  # None: not recorded, as in tests
    schema: int = SCHEMA

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


_TYPES = TypeAdapter(Manifest)  # a dataclass does not check what it is given


@dataclass(frozen=True)
class Execution:
    """Where and how a graph runs."""

    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 0  # 0: ONNX Runtime's own choice


@dataclass(frozen=True)
class Bundle:
    """An opened bundle."""

    manifest: Manifest
    predictor: InstancePredictor
    providers: tuple[str, ...]  # what really runs the graph
    release: Callable[[], None] = lambda: None  # memory that is only kept for speed


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """bundle.json of an instance bundle, checked. Raises BundleError."""
    data = manifest_data(folder)
    if data.get("task") != "instance":
        raise BundleError(f"{folder} is for task {data.get('task')!r}, not 'instance'")

    def build() -> Manifest:
        head, known = data["point_head"], data.get("golden")
        manifest = Manifest(
            **data
            | {
                "categories": tuple(Category(**entry) for entry in data["categories"]),
                "preprocessing": preprocessing(data["preprocessing"]),
                "point_head": None if head is None else PointRendConfig(**head),
                "golden": None if known is None else Golden(**known),
            }
        )
        _TYPES.validate_json(manifest.to_json(), strict=True)
        return manifest

    return undamaged(folder, build)


def manifest_data(folder: Path) -> dict[str, Any]:
    """What stands in the bundle.json of any task. Raises BundleError, also for another schema."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"{folder} is no bundle: it has no {MANIFEST}")
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        schema = data["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is not a bundle's manifest: {error!r}") from error
    if schema != SCHEMA:
        raise BundleError(
            f"{path} has schema {schema!r}; this version reads {SCHEMA}: export the model again"
        )
    if not isinstance(data.get("files"), dict):
        raise BundleError(f"{path} is damaged: files must map names to hashes")
    return data


def undamaged(folder: Path, build: Callable[[], M]) -> M:
    """What `build` makes of a manifest; whatever it cannot make something of is a BundleError."""
    path = folder / MANIFEST
    try:
        return build()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BundleError(f"{path} is damaged: {place}: {first['msg']}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path} is damaged: {error!r}") from error


def preprocessing(data: Mapping[str, Any]) -> Preprocessing:
    return Preprocessing(**{**data, "mean": tuple(data["mean"]), "std": tuple(data["std"])})


def open_bundle(folder: Path, execution: Execution | None = None) -> Bundle:
    """Check every file of an instance bundle and make it ready to predict. Raises BundleError."""
    manifest = read_manifest(folder)
    check_files(folder, manifest.files, manifest.point_head)
    session = open_session(folder / GRAPH, execution or Execution())
    head = open_head(folder, manifest.point_head, manifest.fine_channels, len(manifest.categories))
    run = GraphPass(session)
    predictor = InstancePredictor(
        run, head, manifest.preprocessing, manifest.categories, manifest.fine_stride
    )
    return Bundle(manifest, predictor, tuple(session.get_providers()), run.shrink)


def check_files(folder: Path, files: Mapping[str, str], head: PointConfig | None) -> None:
    """Raises BundleError unless every needed file is there and is the one that was exported."""
    needed = {GRAPH} | ({POINT_HEAD} if head else set())
    if missing := sorted(needed - set(files)):
        raise BundleError(f"{folder} is damaged: the manifest lists no {', '.join(missing)}")
    for name, expected in files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise BundleError(f"{folder} is damaged: {name} is missing")
        if sha256(path) != expected:
            raise BundleError(
                f"{folder} is damaged: {name} is not the file that was exported (its hash differs)"
            )


def open_head(
    folder: Path, config: PointConfig | None, fine_channels: int, num_classes: int
) -> PointHead | None:
    """The point head beside the graph, if there is one. Raises BundleError."""
    if config is None:
        return None
    head = PointHead(fine_channels, num_classes, config)
    try:
        head.load_state_dict(load_file(folder / POINT_HEAD))
    except (RuntimeError, SafetensorError) as error:
        raise BundleError(f"{folder} is damaged: {POINT_HEAD} does not fit its {MANIFEST}") from error
    return head.eval().requires_grad_(False)


def open_session(path: Path, execution: Execution) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session that shares the machine: its threads sleep between two operators.

    Raises BundleError when CUDA was asked for and is not what runs (ONNX Runtime would fall back silently).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = execution.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A plan of the arena for every shape ever seen: memory that grows with them, and no faster here.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    wanted = ["CPUExecutionProvider"]
    if execution.device == "cuda":
        try:
            check_installed_cuda()
        except ValueError as error:
            raise BundleError(str(error)) from error
        wanted.insert(0, "CUDAExecutionProvider")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=wanted)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BundleError(f"{path} cannot be loaded: {str(error).splitlines()[0]}") from error
    if session.get_providers()[0] != wanted[0]:
        raise BundleError(
            f"{execution.device} was asked for, but ONNX Runtime can only use {session.get_providers()}: "
            "check the driver and that onnxruntime-gpu matches its CUDA version, or use device cpu"
        )
    return session


def shrink(session: onnxruntime.InferenceSession, feed: Mapping[str, Any]) -> None:
    """Give back the memory that a session keeps for speed. ONNX Runtime does so at the end of a run: of `feed`'s."""
    options = onnxruntime.RunOptions()
    cuda = "CUDAExecutionProvider" in session.get_providers()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0;gpu:0" if cuda else "cpu:0")
    session.run(None, feed, options)


@dataclass(frozen=True)
class GraphPass:
    """The exported coarse pass, called like the eager one. Outputs are views of ONNX Runtime's memory."""

    session: onnxruntime.InferenceSession

    def __call__(
        self, image: Tensor, size: Tensor, prompts: Tensor, prompt_batch: Tensor, prompt_class: Tensor
    ) -> InstanceCoarse:
        feed = _feed(image, size, prompts, prompt_batch, prompt_class)
        return InstanceCoarse(*(torch.from_numpy(value) for value in self.session.run(None, feed)))

    def shrink(self) -> None:
        """Give back the memory that the session keeps for speed."""
        none = torch.zeros(0, dtype=torch.int64)
        size = torch.tensor([SMALLEST[2:]], dtype=torch.float32)
        shrink(self.session, _feed(torch.zeros(SMALLEST), size, torch.zeros(0, 4), none, none))


def _feed(
    image: Tensor, size: Tensor, prompts: Tensor, prompt_batch: Tensor, prompt_class: Tensor
) -> dict[str, Any]:
    return {
        "image": image.numpy(),
        "size": size.numpy(),
        "prompts": prompts.numpy(),
        "prompt_batch": prompt_batch.numpy(),
        "prompt_class": prompt_class.numpy(),
    }
