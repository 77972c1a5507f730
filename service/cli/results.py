"""Where answers go: each is kept as soon as it is there, so that an interruption loses none of them.

The answers about a folder are one JSON list, which is complete only at the end. Until then they are lines of a journal
beside it. Its first line says what was asked for, so that a later run goes on only with answers to the same question.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from model.errors import UserError
from service.cli.files import ImageFile


class Results(Protocol):
    """What keeps answers. `answer` is the bytes of a file: JSON text, or a picture."""

    def has(self, file: ImageFile) -> bool:
        """Return whether an earlier run has kept the answer about this file."""
        ...

    def keep(self, file: ImageFile, answer: bytes) -> None:
        """Keep an answer. Raises OSError."""
        ...

    def finish(self) -> None:
        """Write what is only complete at the end. Raises OSError."""
        ...


@dataclass(frozen=True)
class OneFile:
    """The answer about the only image: a JSON object or list, or a picture."""

    out: Path

    def has(self, file: ImageFile) -> bool:
        """Return False: one image is always segmented."""
        return False

    def keep(self, file: ImageFile, answer: bytes) -> None:
        """Write the answer."""
        self.out.write_bytes(answer)

    def finish(self) -> None:
        """Do nothing: everything is written."""


@dataclass(frozen=True)
class FileEach:
    """A file for each image, which appears when it is complete."""

    targets: Mapping[Path, Path]
    resume: bool

    def has(self, file: ImageFile) -> bool:
        """Return whether its file is there, and may be left as it is."""
        return self.resume and self.targets[file.path].is_file()

    def keep(self, file: ImageFile, answer: bytes) -> None:
        """Write the answer beside its place, and put it there."""
        replace(self.targets[file.path], answer)

    def finish(self) -> None:
        """Do nothing: everything is written."""


@dataclass
class Listed:
    """One JSON list of all answers, in the order of the files; lists of COCO's are joined into one."""

    out: Path
    files: Sequence[ImageFile]
    joined: bool  # whether answers are lists, whose entries become entries of the one list
    asked: Mapping[str, object]  # what answers of an earlier run must have been asked for, too
    resume: bool
    _places: dict[str, int] = field(init=False, default_factory=dict)  # of answers in the journal, by file
    _end: int = field(init=False, default=0)  # of the last whole line of the journal
    _memory: io.BytesIO | None = field(init=False, default=None)  # instead of the journal

    def __post_init__(self) -> None:
        """Read the journal. Raises UserError if there is one of an earlier run that must not be lost or used."""
        if self.out.exists() and not self.out.is_file():  # such as a pipe: there is no place beside it
            self._memory = io.BytesIO()
        elif not os.access(self.out.parent, os.W_OK):
            raise UserError(f"--out {self.out}: nothing may be written into {self.out.parent}")
        elif self.journal.exists():
            self._read()

    @property
    def journal(self) -> Path:
        """The file beside the list that has the answers until the list is complete."""
        return self.out.with_name(f"{self.out.name}.journal")

    def has(self, file: ImageFile) -> bool:
        """Return whether the journal of an earlier run has the answer."""
        return file.name in self._places

    def keep(self, file: ImageFile, answer: bytes) -> None:
        """Append the answer to the journal, in place of what stands after its last whole line."""
        entry = {"file": file.name, "image_id": file.image_id, "answer": json.loads(answer)}
        with self._opened("r+b" if self._end else "w+b") as journal:
            journal.seek(self._end)
            journal.truncate()
            if not self._end:
                journal.write(_line({"asked": self.asked}))
            self._places[file.name] = journal.tell()
            journal.write(_line(entry))
            self._end = journal.tell()

    def kept(self, file: ImageFile) -> bytes:
        """Return the answer that the journal has about this file."""
        with self._opened("rb") as journal:
            journal.seek(self._places[file.name])
            return json.dumps(json.loads(journal.readline())["answer"]).encode()

    def finish(self) -> None:
        """Make the list of the journal, which ends with that. One answer at a time is in memory."""
        if self._memory is not None:
            with self.out.open("wb") as file:
                file.writelines(self._list())
            return
        replace(self.out, self._list())
        self.journal.unlink(missing_ok=True)

    def _opened(self, mode: str) -> AbstractContextManager[IO[bytes]]:
        return self.journal.open(mode) if self._memory is None else nullcontext(self._memory)

    def _list(self) -> Iterator[bytes]:
        if not self._places:
            yield b"[]\n"
            return
        separator = b"["
        with self._opened("rb") as journal:
            for file in self.files:
                if file.name not in self._places:
                    continue
                journal.seek(self._places[file.name])
                answer: Any = json.loads(journal.readline())["answer"]
                for entry in answer if self.joined else (answer,):
                    yield separator + _line(entry).rstrip(b"\n")
                    separator = b",\n"
        yield b"[]\n" if separator == b"[" else b"]\n"

    def _read(self) -> None:
        """Note the answers in the journal, up to a last line that was not written to its end."""
        ids = {file.name: file.image_id for file in self.files}
        with self.journal.open("rb") as journal:
            first = journal.readline()
            place, line = journal.tell(), journal.readline()
            if not line.endswith(b"\n"):
                return  # it has no answer
            self._check(first)
            while line.endswith(b"\n"):
                entry = json.loads(line)
                # An image whose id has changed, because files were added or left, is segmented again.
                if entry["file"] in ids and entry["image_id"] == ids[entry["file"]]:
                    self._places[entry["file"]] = place
                self._end = journal.tell()
                place, line = self._end, journal.readline()

    def _check(self, first: bytes) -> None:
        """Raise UserError unless this run may go on with the journal."""
        if not self.resume:
            raise UserError(
                f"{self.journal} has the answers of a run that did not end: --resume goes on with it; "
                "delete it to begin anew"
            )
        asked = json.loads(first)["asked"]
        now = json.loads(_line(self.asked))
        different = [
            f"{name} was {asked.get(name)}, is {now.get(name)}"
            for name in sorted({*asked, *now})
            if asked.get(name) != now.get(name)
        ]
        if different:
            raise UserError(f"{self.journal} is of a run with other options: {'; '.join(different)}")


def replace(out: Path, content: bytes | Iterator[bytes]) -> None:
    """Write a file so that it is there as a whole or not at all. Raises OSError."""
    draft = out.with_name(f".{out.name}.part")
    try:
        with draft.open("wb") as file:
            file.writelines((content,) if isinstance(content, bytes) else content)
        draft.replace(out)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _line(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
