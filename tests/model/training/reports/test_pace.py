"""How long a run will take, with a clock that the test turns."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from model.data.coco import load_coco
from model.training.instance import InstanceTraining
from model.training.loop import train
from model.training.reports.pace import FIRST, Pace, duration
from tests.model import tiny


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def paced(
    steps: int, seconds: float, *, start: int = 0, total: int = 1000, watched: bool = True
) -> list[str]:
    """Return what is said over so many steps, the first two of which take ten times as long."""
    clock = Clock()
    pace, said = Pace(start, total, watched=watched, clock=clock), []
    for step in range(1, steps + 1):
        clock.now += seconds * (10 if step <= 2 else 1)
        said.append(pace.step(start + step, 1.5))
    return [line for line in said if line]


def test_the_time_left_is_said_once_after_the_first_steps() -> None:
    assert paced(FIRST - 1, 2.0) == []
    (line,) = paced(900, 2.0)
    assert line.startswith("time: about 33 min for the 990 steps left, at 2 s a step, without validations; ")
    (line,) = paced(20, 0.5, start=600, total=700)
    assert line.startswith("time: about 45 s for the 90 steps left, at 0.5 s a step")
    assert paced(FIRST, 2.0, total=FIRST) == []


def test_a_log_without_a_bar_has_a_line_every_five_minutes() -> None:
    first, *others = paced(400, 2.0, watched=False)
    assert first.startswith("time: about")
    assert others == [
        "step 160 of 1000: loss 1.500, about 28 min left",
        "step 310 of 1000: loss 1.500, about 23 min left",
    ]


def test_pauses_do_not_count() -> None:
    clock = Clock()
    pace = Pace(0, 110, watched=True, clock=clock)
    for step in range(1, FIRST):
        clock.now += 1
        assert pace.step(step, 1.0) is None
        clock.now += 1000  # a validation
        pace.pause_ended()
    clock.now += 1
    assert "about 2 min for the 100 steps left, at 1 s a step" in str(pace.step(FIRST, 1.0))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (99, "99 s"),
        (130, "2 min"),
        (3599, "1 h"),
        (7800, "2 h 10 min"),
        (3600 * 11.6, "12 h"),
        (86400, "1 day"),
        (86400 * 3 + 3600 * 4, "3 days 4 h"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_run_says_its_time_and_draws_no_bar_into_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tiny.write_data(tmp_path / "data", 2)
    recipe = dataclasses.replace(tiny.RECIPE, steps=FIRST + 1, batch_size=1)
    task = InstanceTraining(tiny.network(), [load_coco(file, file.parent)], recipe)
    train(task, tmp_path / "run", workers=0, validate_every=0)
    said = capsys.readouterr()
    assert sum(line.startswith("time: about ") for line in said.out.splitlines()) == 1
    assert said.err == ""
