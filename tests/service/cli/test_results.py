"""Where answers go, and what an interruption leaves of them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from model.errors import UserError
from service.cli.files import ImageFile, check_out
from service.cli.results import FileEach, Listed
from service.output.formats import FORMATS

FILES = [ImageFile(Path(name), number) for number, name in enumerate(("a.jpg", "b.jpg", "c.jpg"), 1)]
ASKED = {"score": 0.5, "format": "coco"}


def coco(file: ImageFile) -> bytes:
    return json.dumps([{"image_id": file.image_id, "score": score} for score in (0.9, 0.8)]).encode()


def listed(out: Path, resume: bool = False, files: Sequence[ImageFile] = FILES, **asked: object) -> Listed:
    return Listed(out, files, True, ASKED | asked, resume)


def ids(out: Path) -> list[Any]:
    return [entry["image_id"] for entry in json.loads(out.read_text())]


def test_a_list_is_in_the_order_of_the_files_whatever_came_first(tmp_path: Path) -> None:
    results = listed(out := tmp_path / "out.json")
    for file in reversed(FILES):
        results.keep(file, coco(file))
    assert not out.exists()
    results.finish()
    assert ids(out) == [1, 1, 2, 2, 3, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("answers", [[], [b"[]", b"[]"]])
def test_a_list_of_nothing_is_a_list(answers: list[bytes], tmp_path: Path) -> None:
    results = listed(out := tmp_path / "out.json")
    for file, answer in zip(FILES, answers, strict=False):
        results.keep(file, answer)
    results.finish()
    assert json.loads(out.read_text()) == []


def test_answers_that_are_objects_become_a_list_of_objects(tmp_path: Path) -> None:
    results = Listed(tmp_path / "out.json", FILES, False, ASKED, False)
    results.keep(FILES[1], '{"id": "ü", "instances": []}'.encode())
    results.keep(FILES[0], b'{"id": "1", "instances": []}')
    results.finish()
    assert [each["id"] for each in json.loads((tmp_path / "out.json").read_text())] == ["1", "ü"]


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text("an older list")
    first = listed(out)
    first.keep(FILES[0], coco(FILES[0]))
    first.keep(FILES[2], coco(FILES[2]))
    assert out.read_text() == "an older list"
    second = listed(out, resume=True)
    assert [second.has(file) for file in FILES] == [True, False, True]
    second.keep(FILES[1], coco(FILES[1]))
    second.finish()
    assert ids(out) == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("lost", [1, 40])
def test_a_line_that_was_not_written_to_its_end_is_written_again(lost: int, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    first = listed(out)
    for file in FILES[:2]:
        first.keep(file, coco(file))
    journal = first.journal
    journal.write_bytes(journal.read_bytes()[:-lost])
    second = listed(out, resume=True)
    assert [second.has(file) for file in FILES] == [True, False, False]
    for file in FILES[1:]:
        second.keep(file, coco(file))
    second.finish()
    assert ids(out) == [1, 1, 2, 2, 3, 3]


def test_an_interrupted_run_is_not_lost_without_a_word(tmp_path: Path) -> None:
    first = listed(out := tmp_path / "out.json")
    first.keep(FILES[0], coco(FILES[0]))
    with pytest.raises(UserError, match=r"out\.json\.journal has the answers .* --resume goes on"):
        listed(out)


def test_answers_to_another_question_are_refused(tmp_path: Path) -> None:
    first = listed(out := tmp_path / "out.json")
    first.keep(FILES[0], coco(FILES[0]))
    with pytest.raises(UserError, match=r"other options: score was 0\.5, is 0"):
        listed(out, resume=True, score=0)


def test_a_run_that_had_no_answer_yet_is_forgotten(tmp_path: Path) -> None:
    journal = listed(out := tmp_path / "out.json").journal
    journal.write_bytes(b'{"asked": {"sco')
    results = listed(out)
    results.keep(FILES[0], coco(FILES[0]))
    results.finish()
    assert ids(out) == [1, 1]


def test_an_image_whose_id_has_changed_is_segmented_again(tmp_path: Path) -> None:
    first = listed(out := tmp_path / "out.json")
    for file in FILES:
        first.keep(file, coco(file))
    added = [ImageFile(Path(name), i) for i, name in enumerate(("a.jpg", "aa.jpg", "b.jpg"), 1)]
    second = listed(out, True, added)
    assert [second.has(file) for file in added] == [True, False, False]


def test_a_pipe_gets_the_list_at_the_end(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    results = listed(pipe)
    results.keep(FILES[0], coco(FILES[0]))
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    results.finish()
    reader.join()
    assert [entry["image_id"] for entry in json.loads(read[0])] == [1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_file_for_each_image(tmp_path: Path) -> None:
    targets = {file.path: tmp_path / f"{file.path.stem}.png" for file in FILES}
    FileEach(targets, False).keep(FILES[0], b"map")
    assert (tmp_path / "a.png").read_bytes() == b"map"
    assert [FileEach(targets, True).has(file) for file in FILES] == [True, False, False]
    assert not FileEach(targets, False).has(FILES[0])


@pytest.mark.parametrize(
    ("name", "format", "said"),
    [
        ("x.png", "rle", r"is a picture's name, but format rle is JSON.*--format png.*--overlay x\.png"),
        ("x.JPG", "coco", "is a picture's name"),
        ("x.json", "png", r"format png is written as \.png, not as \.json"),
        ("x.jpg", "png", r"format png is written as \.png, not as \.jpg"),
    ],
)
def test_a_name_that_says_something_else_than_the_format_is_refused(
    name: str, format: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        check_out(Path(name), FORMATS[format], format)


@pytest.mark.parametrize(
    ("name", "format"), [("x.json", "rle"), ("x", "rle"), ("x.txt", "coco"), ("x.png", "png"), ("x", "png")]
)
def test_names_that_fit(name: str, format: str) -> None:
    check_out(Path(name), FORMATS[format], format)


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder: name a file in it"):
        check_out(tmp_path, FORMATS["rle"], "rle")
