"""Working through files: answers are asked for, drawn and kept as they come, and failures are told and counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import typer

from model.command_line import in_words, message
from model.errors import UserError
from service.cli.errors import EXPECTED, ServerLost
from service.cli.files import ImageFile, ImageSource
from service.cli.overlay import Overlays, count
from service.cli.progress import progress
from service.cli.results import Results


class Answerer(Protocol):
    """An engine, or a server."""

    @property
    def concurrency(self) -> int:
        """How many files it may be given at once."""
        ...

    async def answer(self, file: ImageSource) -> bytes:
        """Return the answer about a file, as the bytes of the file to write.

        Raises ServerLost if there is no use in asking about others, and any other exception for this file alone.
        """
        ...


@dataclass
class FileTally:
    """What has become of the files so far."""

    files: int
    unit: str = "image"  # what they are, in the singular
    begun: float = field(default_factory=time.monotonic)
    earlier: int = 0  # answered by an earlier run
    answered: int = 0
    skipped: int = 0
    found: int | None = None  # instances or segments in all; None: answers are pictures or texts

    def add(self, answer: bytes) -> None:
        """Count an answer."""
        self.answered += 1
        number = count(answer)
        if number is not None:
            self.found = (self.found or 0) + number

    def summary(self, what: str, out: Path) -> str:
        """Return one line about all of it. `what` are the things that were found, in the plural."""
        parts = [f"{self.answered} answered"]
        parts += [f"{self.earlier} by an earlier run"] * bool(self.earlier)
        parts += [f"{self.skipped} skipped"] * bool(self.skipped)
        parts += [f"{self.found} {what}"] * (self.found is not None)
        files = f"{self.files} {self.unit}{'' if self.files == 1 else 's'}"
        seconds = time.monotonic() - self.begun
        pace = f" ({self.answered / seconds:.1f} {self.unit}s/s)" * (self.answered > 1)
        return f"{files}: {', '.join(parts)}, in {seconds:.1f} s{pace}: {out}"


async def work(
    answerer: Answerer,
    files: Sequence[ImageFile],
    results: Results,
    overlays: Overlays | None,
    tally: FileTally,
    alone: bool,
) -> None:
    """Ask for the answer about each file and keep it. Failures are told on standard error, and the files skipped.

    `alone`: the only file was named itself, so that its failure is raised. Raises ServerLost if there is no use in
    going on, OSError if an answer cannot be kept.
    """
    waiting = [file for file in files if not results.has(file)]
    tally.earlier = len(files) - len(waiting)
    failures = Failures()
    queue = iter(waiting)

    async def worker(advance: Callable[[], None]) -> None:
        for file in queue:
            try:
                answer = await answerer.answer(file)
                if overlays is not None:
                    await asyncio.to_thread(overlays.draw, file.path, answer)
            except ServerLost:
                raise
            # Also the device's errors: those of ONNX Runtime have no base of their own.
            except Exception as error:
                if alone:
                    raise _named(error, file) from error
                tally.skipped += 1
                failures.tell(file, error)
            else:
                results.keep(file, answer)
                tally.add(answer)
            advance()

    with progress(len(waiting), "images") as advance:
        workers = [asyncio.create_task(worker(advance)) for _ in range(answerer.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for each in workers:
                each.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    results.finish()


@dataclass
class Failures:
    """Tells why files are skipped. The same failure of every file leaves one traceback, not thousands."""

    _seen: set[str] = field(default_factory=set)

    def tell(self, file: ImageSource, error: Exception) -> None:
        """Say on standard error that a file is skipped, and why."""
        known = repr(error) in self._seen
        self._seen.add(repr(error))
        text = in_words(error) if isinstance(error, EXPECTED) or known else message(error, EXPECTED)
        typer.echo(f"skipped {file.name}: {text}", err=True)


def _named(error: Exception, file: ImageFile) -> Exception:
    """Return the error with the file's name, if its message lacks it and it is no bug."""
    if isinstance(error, OSError) or not isinstance(error, EXPECTED):
        return error
    return UserError(f"{file.path}: {error}")
