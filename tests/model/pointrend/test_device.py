"""The renderer on an accelerator: proven without one.

`FakeTensorMode` has tensors without content, of any device: mixing devices raises, and so does whatever needs a value
on the host (`.item()`, `.tolist()`, `nonzero`), because there is none. So what runs here never waits for the device.
`Launches` counts the operations that reach it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from model.config.instance import PointRendConfig
from model.config.parts import Preprocessing
from model.config.semantic import SemanticPointConfig
from model.masks.axis import axis
from model.masks.tensor_runs import Crop, boundaries
from model.pointrend.features import FineMap
from model.pointrend.instance import InstanceRender, finest
from model.pointrend.label_map import LabelMapRender
from model.pointrend.point_head import PointHead
from model.pointrend.regions import RegionMaps, Source
from model.pointrend.render import advance, render
from model.predict.coarse import FEATURES
from model.predict.instance import InstancePredictor
from model.predict.kept.boxes import BoxRuns, Features
from model.predict.kept.instance import KeptInstance, keep
from model.predict.kept.label_map import KeptLabelMap
from model.predict.kept.window import WindowOptions
from model.predict.predictor import Prepared, Prompt

CLASSES, DIM = 3, 8
EVERYTHING = 10**9  # points of a group
# Views, and questions about a tensor: they launch nothing.
_FREE = (
    "view",
    "reshape",
    "slice",
    "select",
    "expand",
    "unsqueeze",
    "squeeze",
    "flatten",
    "transpose",
    "numpy_T",
)
_FREE += ("unbind", "split", "alias", "detach", "lift_fresh", "prim::device")


class Launches(TorchDispatchMode):
    """Counts operations by name, those left out that launch nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.name().removeprefix("aten::")
        if not name.lstrip("_").startswith(_FREE):
            self.names[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _fake() -> Iterator[None]:
    with FakeTensorMode(), torch.inference_mode():
        yield


def head(precision: torch.dtype = torch.float32) -> PointHead:
    with torch.device("cuda"):
        made = PointHead(5, CLASSES, PointRendConfig(point_dim=DIM)).eval()
    made.precision = precision
    return made


def begun(images: int, instances: int, passes: int = 1, side: int = 224) -> list[InstanceRender]:
    """Renders of so many instances on each of the images of each coarse pass, which have sizes of their own."""
    renders = []
    for number in range(passes):
        height, width = 16 + number, 24
        fine = torch.rand(images, height, width, DIM, device="cuda")
        count = images * instances
        maps = RegionMaps(
            torch.rand(count, 49, 3 * DIM + 1, device="cuda"),
            torch.rand(count, 4, device="cuda"),
            torch.randint(CLASSES, (count,), device="cuda"),
        )
        for row in range(count):
            own = FineMap(fine, height, width, 4, row // instances * height * width)
            renders.append(InstanceRender(Source(maps, row, own), 0, side))
    return renders


def launches(work: Callable[[], object]) -> Counter[str]:
    with Launches() as counted:
        work()
    return counted.names


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_all_levels_run_without_waiting_for_the_device(precision: torch.dtype) -> None:
    renders = begun(2, 3)
    render(renders, head(precision), EVERYTHING)
    assert all(r.done for r in renders)
    masks = finest(renders)
    assert masks.device.type == "cuda" and masks.shape == (6 * 224**2,) and masks.dtype == torch.float32


@pytest.mark.parametrize("level", range(4))
def test_a_level_takes_as_many_operations_for_one_instance_as_for_all_of_eight_images(level: int) -> None:
    """28, 56, 112 and 224: one gather, one top-k, one call of the point head, one scatter, whoever takes part."""

    def of(images: int, instances: int) -> Counter[str]:
        renders, point = begun(images, instances), head()
        for _ in range(level):
            advance(renders, point, EVERYTHING)
        return launches(lambda: advance(renders, point, EVERYTHING))

    one = of(1, 1)
    assert one["embedding_bag.padding_idx"] == 4  # the fine features, and a read for each layer
    assert one["topk"] == (0, 1, 1, 2)[level]  # at 224 blocks first
    assert one["scatter_.src"] == 1
    assert one == of(1, 300) == of(8, 1) == of(8, 40)
    assert one.total() < 150


def test_several_passes_are_copied_together_once_and_then_cost_as_much_as_one() -> None:
    one, several, point = begun(1, 4), begun(2, 4, passes=3), head()
    for renders in (one, several):
        advance(renders, point, EVERYTHING)
    assert (
        len({id(r.source.maps) for r in several}) == 1
        and len({id(r.source.fine.table) for r in several}) == 1
    )
    assert launches(lambda: advance(several, point, EVERYTHING)) == launches(
        lambda: advance(one, point, EVERYTHING)
    )


def test_those_that_come_later_join_those_that_are_there() -> None:
    first, point = begun(1, 3), head()
    advance(first, point, EVERYTHING)
    later = begun(1, 2)
    advance(later, point, EVERYTHING)
    together = [*first, *later]
    advance(together, point, EVERYTHING)
    assert len({id(r.finished) for r in together}) == 1


def test_windows_are_kept_and_rendered_without_waiting_for_the_device() -> None:
    """Windows of instances of one picture are read together, each with its own part of its box."""
    found = [KeptInstance(0, 0.9, (1.0, 2.0, 101.0, 82.0), r.source) for r in begun(2, 3)[3:]]
    kept = keep(found, 200, 100)
    assert {each.source.fine.table.shape for each in kept.instances} == {(16 * 24, DIM)}
    views = [WindowOptions(i, (10.0 + i, 10.0, 60.5 + i, 40.0), 300, 200) for i in range(3)]
    predictions = [kept.window(view) for view in views]
    renders = [r for prediction in predictions for r in prediction.renders]
    assert len({r.cohort(EVERYTHING) for r in renders}) == 1
    point = head()
    render(renders, point, EVERYTHING)
    assert all(r.done and r.logits is not None and r.logits.device.type == "cuda" for r in renders)
    assert [tuple(r.finished.shape[-2:]) for r in renders if r.finished is not None] == [
        (each.part.height, each.part.width) for each in predictions
    ]


def test_runs_are_found_without_waiting_for_the_device() -> None:
    """In as many operations for one mask as for many."""

    def of(masks: int) -> Counter[str]:
        probabilities = torch.rand(masks * 28**2, device="cuda")
        x, y = axis(28, 3.2, 60.0, 100), axis(28, 1.0, 50.5, 80)
        crops = [Crop(x, y, i * 28**2, columns=x.size) for i in range(masks)]
        ends = boundaries(probabilities, crops, 1000)
        assert ends.places.shape == (1000,) and ends.places.dtype == torch.int32
        return launches(lambda: boundaries(probabilities, crops, 1000))

    assert of(1) == of(300)


def test_a_label_map_is_rendered_without_waiting_for_the_device() -> None:
    with torch.device("cuda"):
        point = PointHead(5, CLASSES, SemanticPointConfig(DIM, 2)).eval()
    fine = FineMap(torch.rand(2, 16, 24, DIM, device="cuda"), 16, 24, 4, 16 * 24)
    r = LabelMapRender(torch.rand(CLASSES, 16, 24, device="cuda"), fine, 4, (64, 90), (128, 180), 100)
    render([r], point, EVERYTHING)
    assert r.done and r.pyramid.resized((70, 99), 0, 70).device.type == "cuda"


def test_a_window_of_a_label_map_is_rendered_without_waiting_for_the_device() -> None:
    with torch.device("cuda"):
        point = PointHead(5, CLASSES, SemanticPointConfig(DIM, 2)).eval()
    fine = FineMap(torch.rand(16 * 24, DIM, device="cuda"), 16, 24, 4)
    coarse = torch.rand(CLASSES, 16, 24, device="cuda")
    kept = KeptLabelMap(coarse, fine, 4, (64, 90), 180, 128)
    (r,) = kept.window(WindowOptions(None, (20.5, 30, 60, 70), 200, 150)).renders
    render([r], point, EVERYTHING)
    assert r.done and r.size == (150, 200) and r.pyramid.base.device.type == "cuda"


def test_boxes_of_a_kept_picture_are_given_its_features_where_they_are() -> None:
    sides = [(32 >> level, 48 >> level) for level in range(4)]
    levels = tuple(torch.rand(2, 6, *side, device="cuda") for side in sides)
    fine = torch.rand(2, 32, 48, DIM, device="cuda")
    pixels = Preprocessing(short_edge=64, long_edge=128)

    def run(given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        assert all(given[name].device.type == "cuda" and len(given[name]) == 1 for name in FEATURES)
        count = len(given["prompts"])
        found = torch.rand(count, device="cuda"), torch.randint(CLASSES, (count,), device="cuda")
        return dict(zip(("scores", "classes"), found, strict=True)) | {
            "coarse": torch.rand(count, 49, 3 * DIM + 1, device="cuda")
        }

    prepared = Prepared(torch.zeros(3, 120, 190, dtype=torch.uint8), 380, 240, keep=True)
    own = Features.of(levels, fine, 1, prepared).copied()
    assert own.padded == (128, 192) and own.extent == (120, 190)
    predictor = InstancePredictor(
        run, None, pixels, (), device=torch.device("cuda"), box_runs=BoxRuns(run, run)
    )
    coarse = predictor.boxes(own, own.prepared((Prompt((10, 20, 90, 80)),) * 5, keep=False))
    assert coarse.boxes.device.type == coarse.coarse.device.type == coarse.fine.device.type == "cuda"
    assert coarse.boxes.shape == (5, 4) and coarse.fine.shape == (1, 32, 48, DIM)


def test_the_places_that_do_wait_are_found() -> None:
    """Which shows that the tests above can fail."""
    probabilities = torch.rand(100, device="cuda")
    with pytest.raises(DataDependentOutputException):
        probabilities.sum().item()
    with pytest.raises(RuntimeError, match="device"):
        probabilities + torch.rand(100)
