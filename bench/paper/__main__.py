"""Command line `python -m bench.paper`: the comparisons of docs/paper.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from bench.paper import adaptive as adaptive_bench
from bench.paper import cost as cost_bench
from bench.paper import label_maps, plot, report
from bench.paper.adaptive_tasks import LabelMapCurve, MaskCurve
from bench.paper.base_points import at_points
from bench.paper.heads import crops as crops_bench
from bench.paper.heads import measure as heads_bench
from bench.paper.heads import tables, training
from bench.paper.heads.detector import Detector
from bench.paper.heads.files import read_heads
from model.checkpoints.checkpoint import of_task, open_checkpoint
from model.checkpoints.eager import eager_predictor
from model.command_line import one_line_errors
from model.config.overrides import override
from model.data.coco import load_coco, read_image
from model.data.label_maps import load_label_maps
from model.errors import UserError
from model.evaluation.instance import listed, match_classes
from model.evaluation.label_maps import check_classes
from model.training.recipes import INSTANCE_RECIPES, SEMANTIC_RECIPES

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Checkpoint = Annotated[Path, typer.Option(help="Native .safetensors with PointRend's mask head.")]
Heads = Annotated[Path, typer.Option(help="What `train` wrote over this checkpoint.")]
Data = Annotated[Path, typer.Option(help="COCO-format annotations with masks.")]
Images = Annotated[Path, typer.Option(help="Folder of their images.")]
SemanticCheckpoint = Annotated[
    Path, typer.Option(help="Native .safetensors of a semantic network with PointRend.")
]
Classes = Annotated[Path, typer.Option(help="JSON file of the label maps' classes.")]
Labelled = Annotated[Path, typer.Option(help="Folder with images/ and labels/.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first images (a quick look).")]

HEADS_JSON = Path("docs/paper/heads.json")
ADAPTIVE_JSON = {
    "instance": Path("docs/paper/adaptive.json"),
    "semantic": Path("docs/paper/semantic_adaptive.json"),
}
SEMANTIC_JSON, THIN_CLASSES = Path("docs/paper/semantic.json"), "pole,sign,pedestrian,cyclist"
COST_JSON, FIGURES = Path("docs/paper/cost.json"), Path("docs/images")


@app.command()
def train(
    checkpoint: Checkpoint,
    data: Annotated[list[Path], typer.Option(help="COCO-format annotations; repeat for several files.")],
    images: Annotated[list[Path], typer.Option(help="Folder of their images, one for each --data.")],
    out: Annotated[Path, typer.Option(help="Folder for the state, the log and the heads.")] = Path(
        "runs/paper"
    ),
    steps: Annotated[int, typer.Option(help="Length of the run.")] = 2000,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 4,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate of every head.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and sampling.")] = 0,
    preset: Annotated[
        str, typer.Option(help="Preset whose recipe is used: augmentation, sampling, decay, clipping.")
    ] = "people",
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a part of the recipe: name=value. Repeat for several."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from --out's last state.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 1,
) -> None:
    """Train all heads at once over the checkpoint's frozen backbone and detector."""
    if len(data) != len(images):
        raise UserError(f"{len(data)} --data but {len(images)} --images: give one folder for each file")
    recipe = override(training.recipe_of(INSTANCE_RECIPES[preset], steps, batch_size, lr, seed), change or [])
    datasets = [load_coco(file, folder) for file, folder in zip(data, images, strict=True)]
    detector = Detector.open(checkpoint)
    # Classes are positions in both lists, so both must have the same classes in the same order.
    own, theirs = detector.checkpoint.categories, datasets[0].categories
    if [c.name for c in own] != [c.name for c in theirs]:
        known, given = listed(own), listed(theirs)
        raise UserError(f"the checkpoint's classes ({known}) are not the data's ({given})")
    path = training.train(detector, datasets, recipe, out, resume=resume, workers=workers)
    print(
        f"{path}: measure it with\n  python -m bench.paper measure --checkpoint {checkpoint} --heads {path} …"
    )


@app.command()
def measure(
    checkpoint: Checkpoint,
    heads: Heads,
    data: Data,
    images: Images,
    out: Annotated[Path, typer.Option(help="JSON file for the measurements.")] = HEADS_JSON,
    limit: Limit = None,
) -> None:
    """Measure AP of every head by output side, on the same detections, and IoU inside the true boxes."""
    detector, dataset = Detector.open(checkpoint), load_coco(data, images)
    trained = read_heads(heads, detector.checkpoint.config, detector.sha256)
    classes = match_classes(detector.checkpoint, dataset.categories)
    precision = heads_bench.average_precision(detector, trained, data, dataset, classes, limit)
    overlap = heads_bench.summary(*heads_bench.in_true_boxes(detector, trained, dataset, classes, limit))
    source = {"checkpoint_sha256": detector.sha256, "images": len(dataset.records[:limit])}
    report.write(out, source | {"precision": precision, "true_boxes": overlap})
    print(tables.precision_table(precision), tables.overlap_table(overlap), sep="\n\n")


@app.command()
def cost(out: Annotated[Path, typer.Option(help="JSON file for the counts.")] = COST_JSON) -> None:
    """Count the multiply-accumulates and activations of one 224×224 mask as executed (paper Table 2)."""
    found = cost_bench.measure()
    report.write(out, dataclasses.asdict(found))
    print(cost_bench.cost_table(found))


@app.command()
def adaptive(
    checkpoint: Annotated[Path, typer.Option(help="Native .safetensors of a network with a point head.")],
    data: Annotated[
        Path, typer.Option(help="COCO-format annotations, or the JSON file of label maps' classes.")
    ],
    images: Annotated[Path, typer.Option(help="Folder of the images, or with images/ and labels/.")],
    out: Annotated[Path | None, typer.Option(help="JSON file for the measurements.")] = None,
    score: Annotated[float, typer.Option(help="Least score of the instances.")] = 0.5,
    every: Annotated[int, typer.Option(min=1, help="Only every Nth image (a quick look).")] = 1,
) -> None:
    """Compare the checkpoint's own masks or label maps, rendered adaptively, with evaluating every cell."""
    opened = open_checkpoint(checkpoint)
    name = opened.config.task
    predictor: Any = eager_predictor(opened)
    tasks: dict[str, adaptive_bench.CurveTask] = {
        "instance": MaskCurve(score),
        "semantic": LabelMapCurve(len(opened.categories)),
    }
    examples = {"instance": _photos, "semantic": _label_maps}[name](predictor, data, images, every)
    found = adaptive_bench.curves(predictor, examples, tasks[name])
    report.write(out or ADAPTIVE_JSON[name], found)
    print(adaptive_bench.agreement_table(found, tasks[name]))


def _photos(predictor: Any, data: Path, images: Path, every: int) -> Iterator[tuple[Any, None]]:
    """Yield every Nth image of a COCO file. There is no truth to compare with."""
    for record in tqdm(load_coco(data, images).records[::every], unit="image"):
        yield read_image(record), None


def _label_maps(predictor: Any, data: Path, images: Path, every: int) -> Iterator[tuple[Any, Any]]:
    """Yield every Nth image with its label map. Raises DataError if they are of other classes than the predictor's."""
    found = load_label_maps(data, images)
    check_classes(predictor, found)
    for index in tqdm(range(0, len(found.pairs), every), unit="image"):
        yield found.read(index)


@app.command()
def semantic(
    checkpoint: Annotated[
        list[Path], typer.Option(help="Native .safetensors of a semantic network; repeat for several.")
    ],
    data: Classes,
    images: Labelled,
    out: Annotated[Path, typer.Option(help="JSON file for the measurements.")] = SEMANTIC_JSON,
    classes: Annotated[str, typer.Option(help="Of the second table, comma-separated.")] = THIN_CLASSES,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a part of every network, such as preprocessing.short_edge=360. Repeat for several.",
        ),
    ] = None,
    limit: Limit = None,
) -> None:
    """Measure IoU and boundary IoU of label maps, points and time (paper Tables 6 and 7)."""
    found = label_maps.compare(checkpoint, load_label_maps(data, images), change or [], limit)
    report.write(out, found)
    print(label_maps.tables(found, classes.split(",")))


@app.command()
def semantic_points(
    checkpoint: SemanticCheckpoint,
    data: Classes,
    images: Labelled,
    count: Annotated[int, typer.Option(min=1, help="Augmented images to draw.")] = 48,
) -> None:
    """Compare the point head with its base at points drawn as in training."""
    opened = of_task(open_checkpoint(checkpoint), "semantic")
    recipe = dataclasses.replace(SEMANTIC_RECIPES["street_fpn"], points=2048)
    for name, found in at_points(opened, load_label_maps(data, images), recipe, count).items():
        print(f"{name:12} cross-entropy {found['cross_entropy']:.3f}, right {found['right']:.1%}")


@app.command("plot")
def draw_figures(
    heads: Annotated[Path, typer.Option(help="What `measure` wrote.")] = HEADS_JSON,
    adaptive: Annotated[Path, typer.Option(help="What `adaptive` wrote.")] = ADAPTIVE_JSON["instance"],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = FIGURES,
) -> None:
    """Draw figures of the measurements."""
    found = report.read(heads, "precision"), report.read(adaptive, "sides")
    for path in plot.draw(*found, out):
        print(path)


@app.command()
def crops(
    checkpoint: Checkpoint,
    heads: Heads,
    picture: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of the examples: a picture (its best instance is shown whole), or a part of one "
            "as picture@x0,y0,x1,y1 in pixels. Repeat for several rows."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="PNG file.")] = FIGURES / "paper_crops.png",
    score: Annotated[float, typer.Option(help="Least score of the instances.")] = 0.5,
) -> None:
    """Draw the same instances by the coarse head, 4×conv and PointRend, side by side."""
    windows = [crops_bench.parse(text) for text in picture] if picture else crops_bench.WINDOWS
    detector = Detector.open(checkpoint)
    trained = read_heads(heads, detector.checkpoint.config, detector.sha256)
    rows = [crops_bench.contoured(detector, trained, window, score) for window in windows]
    crops_bench.draw(rows, out)
    print(out)


if __name__ == "__main__":
    with one_line_errors():
        app()
