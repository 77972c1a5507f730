"""`segment --video`, with tiny videos that are made here."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from typer.testing import CliRunner

import service.cli.commands as cli
import service.cli.segment as segment_module
import service.cli.video as video_module
from service.cli.files import ImageSource
from service.cli.offline import Offline
from tests.service.support import Discs, disc_bundle, get, picture, running, wait_for

av = pytest.importorskip("av", reason="PyAV is not installed")
FRAMES, RATE = 7, 10
SIZE = 120, 80


@pytest.fixture(autouse=True)
def _stub_bundle(monkeypatch: pytest.MonkeyPatch, discs: Discs) -> None:
    monkeypatch.setattr(segment_module, "open_bundles", lambda settings, folders: [disc_bundle(discs)])


def write(
    path: Path, frames: list[NDArray[np.uint8]], *, rotation: int = 0, times: list[int] | None = None
) -> Path:
    """Write a video without loss. `times`: of the frames, in tenths of a second."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264rgb" if "libx264rgb" in av.codecs_available else "ffv1", rate=RATE)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "rgb24" if stream.name == "libx264rgb" else "bgr0"
        stream.options = {"qp": "0"}
        if rotation:
            stream.set_display_rotation(rotation)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = (times or range(len(frames)))[number], Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Seven frames that become brighter, and the first of which is black, without anything to see."""
    return write(tmp_path / "in.mkv", [picture(*SIZE, brightness=30 * n) for n in range(FRAMES)])


def segment(video: Path, *arguments: str) -> Result:
    out = str(video.parent / "out.json")
    command = ["segment", "--bundle", "bundle", "--video", str(video), "--out", out, "--threads", "1"]
    return CliRunner().invoke(cli.app, [*command, *arguments])


def answers(video: Path, *arguments: str, code: int = 0) -> Any:
    result = segment(video, *arguments)
    assert result.exit_code == code, result.output
    return json.loads((video.parent / "out.json").read_text())


def pictures(path: Path) -> list[tuple[NDArray[np.uint8], Fraction]]:
    with av.open(str(path)) as file:
        return [(each.to_ndarray(format="rgb24"), each.pts * each.time_base) for each in file.decode(video=0)]


def test_a_coco_list_has_the_numbers_of_the_frames(video: Path) -> None:
    found = answers(video, "--format", "coco")
    assert [entry["image_id"] for entry in found] == [n for n in range(1, FRAMES) for _ in range(2)]
    areas = [entry["segmentation"]["counts"] for entry in found if entry["category_id"] == 1]
    assert len(set(areas)) > 1  # each of its own frame
    assert [shape["frame"] for shape in answers(video, "--format", "cvat")][:4] == [1, 1, 2, 2]
    whole = answers(video)
    assert [each["id"] for each in whole] == [f"frame {n}" for n in range(FRAMES)]
    assert (whole[0]["width"], whole[0]["height"]) == SIZE


def test_a_summary_counts_frames(video: Path) -> None:
    said = segment(video, "--format", "coco").stderr
    assert said.startswith("7 frames: 7 answered, 12 instances, in ") and " frames/s): " in said


@pytest.mark.parametrize("name", ["drawn.mp4", "drawn.mkv", "drawn.webm"])
def test_masks_are_drawn_into_a_video(video: Path, name: str) -> None:
    drawn = video.parent / name
    answers(video, "--format", "coco", "--overlay", str(drawn))
    shown = pictures(drawn)
    assert [round(float(time), 2) for _, time in shown] == [n / RATE for n in range(FRAMES)]
    assert {pixels.shape for pixels, _ in shown} == {(80, 120, 3)}
    (black, _), (bright, _) = shown[0], shown[-1]
    assert black.max() < 40  # nothing is drawn where nothing is
    colours = bright.astype(int).max(2) - bright.min(2)
    assert colours[40, 60] > 40 > colours[2, 2]  # the disc is in the middle, and grey elsewhere
    assert sorted(path.name for path in video.parent.iterdir()) == sorted(["in.mkv", "out.json", name])


def test_times_and_odd_sizes_stay(tmp_path: Path) -> None:
    times = [0, 1, 5, 6]
    video = write(tmp_path / "in.mkv", [picture(61, 41) for _ in times], times=times)
    assert (answers(video)[0]["width"], answers(video)[0]["height"]) == (61, 41)
    answers(video, "--overlay", str(tmp_path / "drawn.mp4"))
    shown = pictures(tmp_path / "drawn.mp4")
    assert [round(float(time) * RATE) for _, time in shown] == times
    assert shown[0][0].shape == (42, 62, 3)


def test_frames_are_turned_as_they_are_shown(tmp_path: Path) -> None:
    """The left half is bright; turned by a quarter, against the clock, that is the lower half."""
    half = picture(80, 60, 0)
    half[:, :40] = 200
    video = write(tmp_path / "in.mp4", [half], rotation=90)
    from service.cli.video import Video

    (frame,) = Video(video).frames()
    assert frame.pixels.shape == (80, 60, 3)
    assert frame.pixels[60:].min() > 150 and frame.pixels[:20].max() < 50
    assert answers(video)[0]["height"] == 80


def test_several_frames_are_asked_for_at_once(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, inside, most = Offline.answer, 0, 0

    async def answer(self: Offline, file: ImageSource) -> bytes:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            return await real(self, file)
        finally:
            inside -= 1

    monkeypatch.setattr(Offline, "answer", answer)
    answers(video)
    assert most > 1


def test_a_frame_that_fails_is_skipped_and_drawn_as_it_is(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Offline.answer

    async def answer(self: Offline, file: ImageSource) -> bytes:
        if file.name == "frame 3":
            raise RuntimeError("the device trips")
        return await real(self, file)

    monkeypatch.setattr(Offline, "answer", answer)
    result = segment(video, "--format", "coco", "--overlay", str(video.parent / "drawn.mp4"))
    assert result.exit_code == 1 and "skipped frame 3: internal error: RuntimeError" in result.stderr
    found = {entry["image_id"] for entry in json.loads((video.parent / "out.json").read_text())}
    assert found == {1, 2, 4, 5, 6}
    shown = [pixels.astype(int) for pixels, _ in pictures(video.parent / "drawn.mp4")]
    colourful = [bool((pixels.max(2) - pixels.min(2)).max() > 40) for pixels in shown]
    assert colourful == [False, True, True, False, True, True, True]


def test_an_interrupted_video_goes_on_where_it_was(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked, stop = Offline.answer, list[str](), True

    async def answer(self: Offline, file: ImageSource) -> bytes:
        asked.append(file.name)
        if stop and file.name == "frame 6":
            raise KeyboardInterrupt
        return await real(self, file)

    monkeypatch.setattr(Offline, "answer", answer)
    drawn = video.parent / "drawn.mp4"
    first = segment(video, "--format", "coco", "--overlay", str(drawn))
    assert first.exit_code == 130 and "of 7 frames are done: the same command with --resume" in first.stderr
    assert sorted(path.name for path in video.parent.iterdir()) == ["in.mkv", "out.json.journal"]
    kept = first.stderr.split(" of 7")[0].splitlines()[-1]
    stop = False
    asked.clear()
    last = segment(video, "--format", "coco", "--overlay", str(drawn), "--resume")
    assert last.exit_code == 0, last.output
    assert len(asked) == FRAMES - int(kept) and "frame 0" not in asked
    found = json.loads((video.parent / "out.json").read_text())
    assert [entry["image_id"] for entry in found] == [n for n in range(1, FRAMES) for _ in range(2)]
    assert len(pictures(drawn)) == FRAMES


def test_a_server_is_asked_as_well(video: Path, discs: Discs) -> None:
    here = answers(video, "--format", "coco")
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: get(f"{url}/readyz").is_success)
        out = str(video.parent / "out.json")
        command = ["segment", "--url", url, "--video", str(video), "--out", out, "--format", "coco"]
        result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 0, result.output
    assert json.loads(Path(out).read_text()) == here


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (
            ("--format", "yolo"),
            "--video gives one list, whose format may be rle, rle_list, polygon, coco, cvat",
        ),
        (("--overlay", "drawn.png"), "a video is written as .mp4, .mov, .mkv, .webm"),
        (("--overlay", "drawn.mp4", "--format", "cvat"), "--overlay draws answers of format rle"),
        (("--annotations", "a.json"), "frames of a video have their numbers"),
        (("--image", "a.png"), "give either --image or --video"),
    ],
)
def test_what_does_not_go_with_a_video_is_refused(video: Path, arguments: tuple[str, ...], part: str) -> None:
    result = segment(video, *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert part in result.stderr


@pytest.mark.parametrize("option", ["--overlay", "--out"])
def test_a_video_is_not_replaced_by_what_is_made_of_it(video: Path, option: str) -> None:
    before = video.read_bytes()
    result = segment(video, option, str(video.parent / "." / video.name))
    assert result.exit_code == 2 and "is the file that is segmented, which would be lost" in result.output
    assert video.read_bytes() == before


def test_a_video_without_a_frame_is_said(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module.Video, "frames", lambda _: iter(()))
    result = segment(video, "--overlay", str(video.parent / "drawn.mp4"))
    assert result.exit_code == 2 and f"{video} has no frame that can be read" in result.output
    assert sorted(path.suffix for path in video.parent.iterdir() if "drawn" in path.name) == []


def test_what_is_no_video_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with av.open(str(tmp_path / "sound.wav"), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
    for name, part in (
        ("text.mp4", "text.mp4 cannot be read as a video: Invalid data"),
        ("sound.wav", "sound.wav has no pictures"),
        ("missing.mp4", "missing.mp4: no such file or directory"),
    ):
        result = segment(tmp_path / name)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
        assert part in result.stderr


def test_a_missing_package_is_named(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "service.cli.video", raising=False)
    result = segment(video)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: this needs the extra `video`: ") and ".[video]" in result.stderr
