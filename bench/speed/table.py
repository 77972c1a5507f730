"""The table of docs/speed.md, which `python -m bench` measures and prints."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image

from bench.speed import full_size, reference_way
from bench.speed.row import Row, changes, in_turns, markdown
from bench.speed.scene import SIDE, Scene, scene
from export.bundle import open_bundle
from export.execution import Execution, choose_execution, has_bf16
from model.checkpoints.checkpoint import of_task, open_checkpoint
from model.checkpoints.eager import eager_predictor
from model.errors import UserError
from model.masks import rle
from model.masks.paste import paste
from model.pointrend.instance import InstanceRender, render_dense
from model.predict.headers import read_header
from model.predict.images import decode_reduced, decode_resized
from model.predict.instance import InstanceOptions
from model.predict.predictor import Predictor, Prompt
from model.predict.resize import input_size

DENSE = 10  # masks that are rendered densely
FEW = (10, 1)  # masks of small requests
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def renderer(masks: int = 100, repeats: int = 3) -> list[Row]:
    """Time the renderer of instance masks, in the precision in which it is served, against two other ways.

    A coarse pass projects an image's maps whether there are many masks or few. So the time of many includes that, and
    that of few does not.
    """
    everything = scene(masks)
    served = PRECISIONS["bf16" if has_bf16() else "fp32"]
    what, plain = f"80 classes, {SIDE}×{SIDE}", "plain loop, all classes"

    def dense() -> None:
        render_dense(everything.first(DENSE).begun(), everything.head)

    works: dict[str, Callable[[], object]] = {
        "ours": partial(everything.render, served),
        "fp32": everything.render,
        "plain": everything.plain,
        "dense": dense,
    }
    for count in FEW:
        own = everything.first(count)
        works[f"ours {count}"] = partial(_refined, own, own.begun(), served)
        works[f"plain {count}"] = own.plain
    found = in_turns(works, repeats)
    rows = [
        Row(f"render {masks} masks, {what}", found["ours"], plain, found["plain"]),
        Row(
            "the same",
            found["ours"],
            f"dense: every cell ({DENSE} masks, scaled)",
            found["dense"] * masks / DENSE,
        ),
        Row(f"render {masks} masks in fp32, {what}", found["fp32"], plain, found["plain"]),
    ]
    for count in FEW:
        name = f"render {count} from projected maps, {what}"
        rows.append(Row(name, found[f"ours {count}"], plain, found[f"plain {count}"]))
    return rows


def _refined(own: Scene, begun: Sequence[InstanceRender], precision: torch.dtype) -> None:
    """Render copies of renders that are begun."""
    own.refine([replace(each) for each in begun], precision)


def encoding(masks: int = 20, repeats: int = 3) -> list[Row]:
    """Time how 224×224 masks are pasted into a 12-megapixel image and encoded."""
    width, height = 4000, 3000
    y, x = np.mgrid[0:224, 0:224] / 224 - 0.5
    wave = 0.35 + 0.08 * np.sin(9 * np.arctan2(y, x))
    one = (1 / (1 + np.exp(-60 * (wave - np.hypot(x, y))))).astype(np.float32)
    rng = np.random.default_rng(0)
    corner = rng.uniform((0, 0), (2800, 1800), (masks, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(200, 1200, (masks, 2))], 1).astype(np.float32)
    stack, tensors = torch.from_numpy(np.stack([one] * masks)), torch.from_numpy(boxes)

    def ours() -> list[str]:
        crops = (paste(one, box.tolist(), width, height) for box in boxes)
        return [rle.compress(rle.encode(c, width, height)) for c in crops]

    def theirs() -> object:
        return reference_way.paste_and_encode(stack, tensors, width, height)

    found = in_turns({"ours": ours, "theirs": theirs}, repeats)
    return [
        Row(f"paste and encode {masks} masks, 12 MP", found["ours"], "full-size bitmaps", found["theirs"])
    ]


def whole(bundle_folder: Path, checkpoint: Path, picture: Path, threads: int) -> list[Row]:
    """Time the shipped model on pictures, and its coarse pass alone, which is the least that the whole can take."""
    served = open_bundle(bundle_folder, choose_execution("cpu", threads=threads)).predictor
    exact = open_bundle(bundle_folder, Execution(threads=threads)).predictor
    eager = eager_predictor(of_task(open_checkpoint(checkpoint), "instance"))
    data, options = picture.read_bytes(), InstanceOptions()
    inputs = eager.inputs([eager.prepare(_pixels(data, eager, exact=True), options)])

    @torch.inference_mode()
    def eager_pass() -> object:
        return eager.run(inputs)

    found = in_turns(
        {
            "pass": lambda: served.run(inputs),
            "exact pass": lambda: exact.run(inputs),
            "eager pass": eager_pass,
            "all": lambda: _rle(served, data, options, exact=False),
            "all exact": lambda: _rle(exact, data, options, exact=True),
        }
    )
    large, boxes = _large(picture), InstanceOptions(prompts=_boxes(20))
    resized = _pixels(large, served, exact=False)
    big_inputs = eager.inputs([eager.prepare_resized(resized, (4000, 3000), boxes)])
    big = in_turns(
        {
            "decode": lambda: _pixels(large, served, exact=False),
            "decode exact": lambda: _pixels(large, served, exact=True),
            "all": lambda: _rle(served, large, boxes, exact=False),
            "pass": lambda: served.run(big_inputs),
        }
    )
    name = f"{picture.name} → RLE, native resolution"
    return [
        Row("coarse pass, ONNX Runtime", found["exact pass"], "eager PyTorch", found["eager pass"]),
        Row("coarse pass, as served", found["pass"], "ONNX Runtime, fp32", found["exact pass"]),
        Row(
            "decode a JPEG of 12 MP to the network's input",
            big["decode"],
            "at its full size",
            big["decode exact"],
        ),
        Row("JPEG of 12 MP with 20 boxes → RLE", big["all"], "its coarse pass alone", big["pass"]),
        Row(name, found["all"], "the same in fp32, decoded at full size", found["all exact"]),
        Row(name, found["all"], "its coarse pass alone", found["pass"]),
    ]


def _pixels(data: bytes, predictor: Predictor, *, exact: bool) -> NDArray[np.uint8]:
    """Return an image at the size of the network's input."""
    header = read_header(data)
    decode = decode_resized if exact else decode_reduced
    return decode(data, header, input_size(header.height, header.width, predictor.preprocessing))


def _rle(predictor: Predictor, data: bytes, options: InstanceOptions, *, exact: bool) -> list[str]:
    """Return the masks of an encoded image as compressed run lengths."""
    header = read_header(data)
    size = header.width, header.height
    one = predictor.prepare_resized(_pixels(data, predictor, exact=exact), size, options)
    prediction = predictor.begin(predictor.coarse([one]), 0, one, options)
    predictor.render([prediction])
    masks: Sequence[Any] = prediction.finish().parts
    return [rle.compress(rle.counts_of(mask.runs(*size), *size)) for mask in masks]


def _large(picture: Path) -> bytes:
    """Return the picture enlarged to 12 megapixels, as a camera would write it."""
    file = io.BytesIO()
    with Image.open(picture) as opened:
        opened.convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def _boxes(count: int) -> tuple[Prompt, ...]:
    """Return boxes of 200 to 1400 pixels in an image of 4000 × 3000."""
    random = np.random.default_rng(0)
    corner = random.uniform((0, 0), (2600, 1600), (count, 2))
    ends = corner + random.uniform(200, 1400, (count, 2))
    boxes = np.concatenate([corner, ends], 1).tolist()
    return tuple(Prompt((x0, y0, x1, y1), 0) for x0, y0, x1, y1 in boxes)


def main(
    bundle: Annotated[Path, typer.Option(help="A bundle of the shipped model.")] = Path("bundles/people"),
    checkpoint: Annotated[Path, typer.Option()] = Path("model/weights/people.safetensors"),
    picture: Annotated[Path, typer.Option()] = Path("examples/astronaut.jpg"),
    threads: Annotated[int, typer.Option(help="For PyTorch and ONNX Runtime.")] = 2,
    masks: Annotated[int, typer.Option(min=10, help="How many are rendered.")] = 100,
    large: Annotated[
        bool, typer.Option(help="Time the full-size network, too; a minute goes by until it is exported.")
    ] = True,
    out: Annotated[Path | None, typer.Option(help="JSON file to write as well.")] = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="JSON file of an earlier run: print which ratios changed by over 15 %."),
    ] = None,
) -> None:
    """Print the table. Nothing else should run on the machine meanwhile."""
    before = None if compare is None else read_rows(compare)
    torch.set_num_threads(threads)
    found = [
        *renderer(masks),
        *encoding(),
        *(full_size.rows(picture, threads) if large else ()),
        *whole(bundle, checkpoint, picture, threads),
    ]
    print(markdown(found))
    if before is not None:
        print(f"\n{changes(before, found)}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps([asdict(row) for row in found], indent=1) + "\n")


def read_rows(path: Path) -> list[Row]:
    """Return the rows that an earlier run wrote. Raise UserError if they cannot be read."""
    try:
        return [Row(**row) for row in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"--compare: {path} is not what `python -m bench --out FILE` writes: {error}"
        ) from error
