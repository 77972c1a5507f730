"""Texts in pages are replaced between their marks, and the pages of this project hold what was measured."""

from __future__ import annotations

import hashlib

import pytest

from bench.figures.__main__ import PAGES
from bench.figures.pages import names, rewritten
from bench.figures.texts import WEIGHTS, texts, weights
from tests.paths import ROOT

PAGE = """Before.

<!-- figures: one -->

old
<!-- end of figures -->

Between.

<!-- figures: two -->
<!-- end of figures -->
"""


def test_only_what_is_between_the_marks_is_replaced() -> None:
    assert names(PAGE) == ["one", "two"]
    new = rewritten(PAGE, {"one": "| 1\\0 |", "three": "x"})
    assert new.startswith(
        "Before.\n\n<!-- figures: one -->\n\n| 1\\0 |\n\n<!-- end of figures -->\n\nBetween.\n"
    )
    assert new.endswith("<!-- figures: two -->\n<!-- end of figures -->\n")
    assert rewritten(new, {"one": "| 1\\0 |"}) == new


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_pages_hold_what_was_measured(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails, a figure was typed by hand, or `python -m bench.figures --pages-only` was forgotten."""
    monkeypatch.chdir(ROOT)
    found, text = texts(ROOT / "docs"), (ROOT / page).read_text()
    assert names(text) and set(names(text)) <= found.keys()
    assert rewritten(text, found) == text


@pytest.mark.parametrize(
    ("shipped", "expected"),
    [
        ([True, True], "All tables were measured with the shipped weights"),
        (
            [True, False],
            "1 of 2 tables were measured with the shipped weights, the others with earlier ones.",
        ),
        ([False, False], "No table was measured with the shipped weights: all are of earlier ones."),
    ],
)
def test_a_page_says_how_many_tables_are_of_the_shipped_weights(shipped: list[bool], expected: str) -> None:
    now = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert weights([{"weights": now} if each else {} for each in shipped]).startswith(expected)
