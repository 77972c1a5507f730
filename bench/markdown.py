"""Text and tables in Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 150  # of a line of the docs


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with one header row."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def paragraph(text: str, *, indent: str = "") -> str:
    """Return text in lines of the docs' width; `indent` begins all but the first."""
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
