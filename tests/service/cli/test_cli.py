"""`python -m service segment` and the errors of all commands, with a stub model."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

import service.cli.commands as cli
import service.cli.segment as segment_module
from export.errors import BundleError
from service.cli.demo import table
from service.cli.files import ImageSource, image_ids
from service.cli.offline import Offline
from service.http.schemas.answers import CocoResult, SegmentAnswer
from service.settings import Settings
from tests.service.support import POISON, Discs, disc_bundle, encoded, picture


@pytest.fixture(autouse=True)
def _stub_bundle(monkeypatch: pytest.MonkeyPatch, discs: Discs) -> None:
    monkeypatch.setattr(segment_module, "open_bundles", lambda settings, folders: [disc_bundle(discs)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images and what is no image."""
    images = tmp_path / "images"
    images.mkdir()
    for name, width in (("b.png", 90), ("a.PNG", 60), ("c.png", 120)):
        (images / name).write_bytes(encoded(picture(width, 60)))
    (images / "notes.txt").write_text("not an image, and not called one")
    return images


def segment(image: Path, out: Path, *arguments: str) -> Result:
    command = ["segment", "--bundle", "bundle", "--image", str(image), "--out", str(out), "--threads", "1"]
    return CliRunner().invoke(cli.app, [*command, *arguments])


def written(image: Path, *arguments: str, code: int = 0) -> Any:
    out = image.parent / "out.json"
    result = segment(image, out, *arguments)
    assert result.exit_code == code, result.output
    return json.loads(out.read_text())


def test_one_image(folder: Path) -> None:
    answered = written(folder / "c.png")
    SegmentAnswer.model_validate(answered)
    assert (answered["id"], answered["width"]) == ("c.png", 120)
    assert len(answered["instances"]) == 2
    assert len(written(folder / "c.png", "--score", "0.7")["instances"]) == 1
    assert len(written(folder / "c.png", "--max-instances", "1")["instances"]) == 1
    assert len(written(folder / "c.png", "--classes", "ring")["instances"]) == 1
    assert len(written(folder / "c.png", "--boxes", "[[0,0,9,9],[9,9,20,20],[1,1,5,5]]")["instances"]) == 3


def test_one_image_as_coco(folder: Path) -> None:
    results = written(folder / "c.png", "--format", "coco")
    assert [CocoResult.model_validate(result).image_id for result in results] == [1, 1]


def test_cut_outs_are_pictures(folder: Path) -> None:
    """One file, or one for each image of a folder."""
    out = folder.parent / "cut.png"
    result = segment(folder / "c.png", out, "--format", "cutout", "--crop", "--instance", "0")
    assert result.exit_code == 0, result.output
    with Image.open(out) as crop:
        assert crop.mode == "RGBA" and crop.size < (120, 80)
    result = segment(folder, folder.parent / "cuts", "--format", "cutout")
    assert result.exit_code == 0, result.output
    sizes = {}
    for file in sorted((folder.parent / "cuts").iterdir()):
        with Image.open(file) as picture_of:
            sizes[file.name] = picture_of.width
    assert sizes == {"a.png": 60, "b.png": 90, "c.png": 120}
    result = segment(folder / "c.png", out, "--format", "cutout", "--instance", "5")
    assert result.exit_code == 2 and "0 to 1 are allowed, got 5" in result.stderr
    drawn = str(folder.parent / "drawn.jpg")
    result = segment(folder / "c.png", out, "--format", "cutout", "--overlay", drawn)
    assert result.exit_code == 2 and "--overlay draws answers of format rle" in result.stderr


def test_a_folder_in_name_order(folder: Path) -> None:
    answers = written(folder, "--resolution", "224", "--points", "784", "--format", "polygon")
    assert [(each["id"], each["width"]) for each in answers] == [("a.PNG", 60), ("b.png", 90), ("c.png", 120)]


def test_a_folder_as_one_coco_list(folder: Path) -> None:
    assert [r["image_id"] for r in written(folder, "--format", "coco")] == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("format", "suffix", "begin"),
    [("yolo", ".txt", "0 0."), ("geojson", ".geojson", "{"), ("label_studio", ".json", "{")],
)
def test_a_folder_in_formats_with_a_file_for_each(folder: Path, format: str, suffix: str, begin: str) -> None:
    out = folder.parent / "answers"
    result = segment(folder, out, "--format", format)
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in out.iterdir()) == [f"{name}{suffix}" for name in "abc"]
    assert (out / f"b{suffix}").read_text().startswith(begin)


def test_frames_of_cvat_count_from_nought(folder: Path) -> None:
    shapes = written(folder, "--format", "cvat")
    assert [shape["frame"] for shape in shapes] == [0, 0, 1, 1, 2, 2]


def test_what_cannot_be_drawn_is_refused_before_any_work(folder: Path, discs: Discs) -> None:
    result = segment(
        folder, folder.parent / "out", "--format", "yolo", "--overlay", str(folder.parent / "drawn")
    )
    assert result.exit_code == 2
    assert "--overlay draws answers of format rle, rle_list, polygon, coco, png, not yolo" in result.stderr
    assert not discs.batches


def test_ids_of_annotations(folder: Path) -> None:
    annotations = folder.parent / "instances.json"
    images = [
        {"id": 70 + i, "file_name": f"deep/{name}"} for i, name in enumerate(("c.png", "a.PNG", "b.png"))
    ]
    annotations.write_text(json.dumps({"images": images}))
    results = written(folder, "--format", "coco", "--annotations", str(annotations))
    assert [result["image_id"] for result in results] == [71, 71, 72, 72, 70, 70]
    twins = [{"file_name": "a/1.png", "id": 1}, {"file_name": "b/1.png", "id": 2}]
    annotations.write_text(json.dumps({"images": twins}))
    with pytest.raises(ValueError, match="equal file names"):
        image_ids(annotations)
    annotations.write_text(json.dumps({"images": images[:2]}))
    results = written(folder, "--format", "coco", "--annotations", str(annotations), code=1)
    assert [result["image_id"] for result in results] == [71, 71, 70, 70]


def test_a_bad_image_is_named_and_skipped(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"no image at all")
    out = folder.parent / "out.json"
    result = segment(folder, out, "--format", "coco")
    assert result.exit_code == 1
    assert "skipped b.png: the content is not an image" in result.stderr
    assert [r["image_id"] for r in json.loads(out.read_text())] == [1, 1, 3, 3]


def test_an_image_that_the_device_trips_over_is_skipped(folder: Path) -> None:
    poisoned = picture()
    poisoned[:] = POISON
    (folder / "b.png").write_bytes(encoded(poisoned))
    out = folder.parent / "out.json"
    result = segment(folder, out, "--format", "coco")
    assert result.exit_code == 1
    assert "skipped b.png: internal error: RuntimeError: the device trips over this image" in result.stderr
    assert "RuntimeError: the device trips" in traceback_of(result).read_text()
    assert [r["image_id"] for r in json.loads(out.read_text())] == [1, 1, 3, 3]
    single = segment(folder / "b.png", out)
    assert (single.exit_code, single.stderr.count("\n")) == (1, 1)


def traceback_of(result: Result) -> Path:
    """The file with the traceback that a command names."""
    found = re.search(r"the traceback is in (\S+)", result.stderr)
    assert found is not None, result.stderr
    return Path(found[1])


def test_the_same_failure_of_every_image_leaves_one_traceback(folder: Path) -> None:
    poisoned = picture()
    poisoned[:] = POISON
    for name in ("a.PNG", "b.png", "c.png"):
        (folder / name).write_bytes(encoded(poisoned))
    result = segment(folder, folder.parent / "out.json")
    assert (result.exit_code, result.stderr.count("skipped ")) == (1, 3)
    assert result.stderr.count("the traceback is in") == 1


def test_overlay(folder: Path) -> None:
    overlay = folder.parent / "overlay.png"
    written(folder / "c.png", "--overlay", str(overlay))
    with Image.open(overlay) as image:
        assert image.size == (120, 60)
        assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 3


@pytest.mark.parametrize("arguments", [("--overlay", "c.png"), ("--format", "cutout", "--out", "c.png")])
def test_an_image_is_not_replaced_by_what_is_made_of_it(folder: Path, arguments: tuple[str, ...]) -> None:
    *options, name = arguments
    image = folder / name
    before = image.read_bytes()
    command = ["segment", "--bundle", "bundle", "--image", str(image), "--out", str(folder / "out.json")]
    result = CliRunner().invoke(cli.app, [*command, *options, str(image)])  # the last --out counts
    assert result.exit_code == 2 and f"{options[-1]} {image} is the file that is segmented" in result.stderr
    assert image.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--resolution", "300"), ("resolution", "native or one of 28")),
        (("--points", "0"), ("points", "auto or a number")),
        (("--score", "2"), ("score", "less than or equal to 1")),
        (("--max-instances", "0"), ("max_instances", "greater than or equal to 1")),
        (("--classes", "cat"), ("'cat'", "allowed: disc, ring")),
        (("--boxes", "[[0,0,1]]"), ("boxes", "box 1 must be")),
        (("--boxes", "[[500,0,600,9]]"), ("boxes", "not within the 120 × 60 image")),
        (("--annotations", "missing.json"), ("missing.json",)),
        (("--overlay", "picture.xyz"), ("picture.xyz", ".png")),
    ],
)
def test_wrong_arguments_end_in_one_line(
    folder: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    result = segment(folder / "c.png", folder.parent / "out.json", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("classes", "cat"), ("resolution", "300"), ("boxes", "[[0,0,1]]"), ("format", "png")]
)
def test_what_the_model_does_not_allow_is_refused_before_any_image(
    folder: Path, name: str, value: str
) -> None:
    result = segment(folder, folder.parent / "out", f"--{name}", value)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"error: {name}: ")


def test_wrong_files_end_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = folder.parent / "out.json"
    empty = folder.parent / "empty"
    empty.mkdir()
    (folder / "bad.png").write_bytes(b"text")
    for image, part in (
        (folder / "missing.png", "missing.png"),
        (folder / "bad.png", "bad.png: the content is not an image"),
        (empty, "has no images"),
    ):
        result = segment(image, out)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert part in result.stderr

    def damaged(*_: object) -> None:
        raise BundleError("bundle is damaged: coarse.onnx is missing")

    monkeypatch.setattr(segment_module, "open_bundles", damaged)
    assert segment(folder / "c.png", out).stderr == "error: bundle is damaged: coarse.onnx is missing\n"


def test_serve_needs_a_good_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, part in (
        (["serve"], "no model to serve"),
        (["serve", "--bundle", str(tmp_path)], "is no bundle"),
        (["serve", "--port", "99999"], "port"),
        (["demo", "--bundle", str(tmp_path), "--image", str(tmp_path / "no.png"), "--out", "x"], "no.png"),
    ):
        result = CliRunner().invoke(cli.app, arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert part in result.stderr


def test_table(folder: Path) -> None:
    text = table(written(folder / "c.png"))
    assert "2 instances in 120 × 60" in text
    assert "disc      0.900  30, 15, 60, 30" in text
    assert "decode" in text


def test_serve_tells_every_setting() -> None:
    told = CliRunner().invoke(cli.app, ["serve", "--help"]).output
    for name in Settings.model_fields:
        assert f"POINTREND_{name.upper()}" in told


@pytest.mark.parametrize("command", ["serve --bundle b", "demo --bundle b --image {image} --out {out}"])
def test_bad_settings_are_refused_at_the_start_a_line_each(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("POINTREND_QUEUE_LENGTH", "none")
    monkeypatch.setenv("POINTREND_MAX_PIXELS", "-1")
    arguments = command.format(image=folder / "c.png", out=folder.parent / "out").split()
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 2
    first, second = done.output.splitlines()
    assert first.startswith("error: queue_length: ")
    assert second.startswith("max_pixels: ")


def test_a_folder_ends_with_a_summary(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"no image")
    out = folder.parent / "out.json"
    said = segment(folder, out).stderr.splitlines()
    assert len(said) == 2 and said[0].startswith("skipped b.png")
    assert re.fullmatch(
        rf"3 images: 2 answered, 1 skipped, 4 instances, in \d+\.\d s \(\d+\.\d images/s\): {out}", said[1]
    )
    one = segment(folder / "a.PNG", out).stderr
    assert re.fullmatch(rf"1 image: 1 answered, 2 instances, in \d+\.\d s: {out}\n", one)


def test_no_bar_is_drawn_into_a_log(folder: Path) -> None:
    assert "%" not in segment(folder, folder.parent / "out.json").output


def test_overlays_of_a_folder(folder: Path) -> None:
    drawings = folder.parent / "drawings"
    written(folder, "--overlay", str(drawings), "--format", "coco")
    assert sorted(file.name for file in drawings.iterdir()) == ["a.jpg", "b.jpg", "c.jpg"]
    with Image.open(drawings / "a.jpg") as image:
        assert image.size == (60, 60)
    assert (
        "choose another folder" in segment(folder, folder.parent / "o.json", "--overlay", str(folder)).stderr
    )


def test_an_interrupted_folder_goes_on_where_it_was(
    folder: Path, discs: Discs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes while the third image is segmented: two are kept, and only the third is segmented again."""
    out = folder.parent / "out.json"
    journal = folder.parent / "out.json.journal"
    real, asked = Offline.answer, list[str]()

    async def answer(self: Offline, file: ImageSource) -> bytes:
        asked.append(file.name)
        if asked == ["a.PNG", "b.png", "c.png"]:
            while (
                not journal.exists() or journal.read_bytes().count(b"\n") < 3
            ):  # what was asked, and two answers
                await asyncio.sleep(0.001)
            raise KeyboardInterrupt
        return await real(self, file)

    monkeypatch.setattr(Offline, "answer", answer)
    first = segment(folder, out, "--format", "coco")
    assert (first.exit_code, out.exists()) == (130, False)
    assert "2 of 3 images are done: the same command with --resume goes on" in first.stderr
    again = segment(folder, out, "--format", "coco")
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1) and "--resume goes on" in again.stderr
    other = segment(folder, out, "--format", "coco", "--score", "0", "--resume")
    assert other.exit_code == 2 and "score was 0.5, is 0.0" in other.stderr
    asked.clear()
    last = segment(folder, out, "--format", "coco", "--resume")
    assert last.exit_code == 0, last.output
    assert asked == ["c.png"]
    assert "1 answered, 2 by an earlier run" in last.stderr
    assert [entry["image_id"] for entry in json.loads(out.read_text())] == [1, 1, 2, 2, 3, 3]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["images", "out.json"]


def test_a_name_that_does_not_fit_is_refused_before_anything_is_done(folder: Path) -> None:
    for image in (folder, folder / "a.PNG"):
        result = segment(image, folder.parent / "x.png")
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "format rle is JSON" in result.stderr
    assert sorted(path.name for path in folder.parent.iterdir()) == ["images"]


def test_files_that_are_missing_are_said_in_words(folder: Path) -> None:
    result = segment(folder / "missing.png", folder.parent / "out.json")
    assert result.stderr == f"error: {folder / 'missing.png'}: no such file or directory\n"
    assert result.exit_code == 2


@pytest.mark.parametrize("command", [["segment"], ["segment", "--nonsense"], ["serve", "--port", "x"], ["x"]])
def test_wrong_use_ends_with_2(command: list[str]) -> None:
    assert CliRunner().invoke(cli.app, command).exit_code == 2


def test_an_option_of_the_environment_that_is_wrong_ends_with_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTREND_MAX_PIXELS", "many")
    assert segment(folder / "a.PNG", folder.parent / "out.json").exit_code == 2
