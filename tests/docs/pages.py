"""The code blocks of README and docs, and what a comment above a block says about running it.

    <!-- not run: REASON -->             it cannot be run here
    <!-- slow -->                        run by `make test-slow` only
    <!-- engine -->                      needs a container engine, and the ports that its containers publish
    <!-- online -->                      needs packages from the network
    <!-- server -->                      goes on in the background, until the next such block or the end of the page
    <!-- answer -->                      JSON: what the block before it answers, with … for what differs each time
    <!-- with: --steps 300 → --steps 2 -->   run with this in place of that, because it would take too long
    <!-- given: COMMAND -->              what the reader has, such as a data set of their own, is made by this

Marks may be combined (`<!-- slow, server -->`), and a block may have several comments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.paths import ROOT

FOLDERS = (".", "docs", "examples", "model/weights", "docker/bundles", "clients/python", "clients/js")
PAGES = tuple(page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md")))
MARKS = frozenset({"slow", "engine", "online", "server", "answer"})
COMMANDS = frozenset({"sh", "python"})
LANGUAGES = COMMANDS | {"js", "json", "yaml", "text"}


@dataclass(frozen=True)
class Block:
    line: int
    language: str
    code: str
    marks: frozenset[str] = frozenset()
    reason: str = ""  # why it is not run
    given: str = ""  # commands that make what the reader has
    instead: tuple[tuple[str, str], ...] = ()  # what is run in place of what

    @property
    def runs(self) -> bool:
        return self.language in COMMANDS and not self.reason


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(text: str) -> tuple[Block, ...]:
    """Return the code blocks of a page of Markdown, in order."""
    return tuple(_blocks(MarkdownIt("commonmark").parse(text)))


def _blocks(tokens: list[Token]) -> Iterator[Block]:
    comments: list[str] = []
    for token in tokens:
        if token.type == "html_block" and token.content.startswith("<!--"):
            comments.append(token.content.strip().removeprefix("<!--").removesuffix("-->").strip())
            continue
        if token.type == "fence":
            assert token.map is not None
            yield _block(token.map[0] + 1, token.info.strip(), token.content, comments)
        comments = []


def _block(line: int, language: str, code: str, comments: list[str]) -> Block:
    marks: set[str] = set()
    reason = given = ""
    instead: list[tuple[str, str]] = []
    for comment in comments:
        kind, _, detail = comment.partition(":")
        if kind == "figures":  # a table that another test compares with its figures
            continue
        if kind == "not run":
            reason = detail.strip()
            assert reason, f"line {line}: `not run` needs a reason"
        elif kind == "given":
            given += detail.strip() + "\n"
        elif kind == "with":
            for pair in detail.split(";"):
                old, arrow, new = (part.strip() for part in pair.partition("→"))
                assert arrow and old in code, f"line {line}: {old!r} is not in the block"
                instead.append((old, new))
        else:
            found = {mark.strip() for mark in comment.split(",")}
            assert found <= MARKS, f"line {line}: {sorted(found - MARKS)} is none of {sorted(MARKS)}"
            marks |= found
    return Block(line, language, code, frozenset(marks), reason, given, tuple(instead))
