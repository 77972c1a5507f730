"""Files that commands write: whether that will be possible is checked before anything long begins."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from model.errors import UserError, reason


def check_output(out: Path) -> None:
    """Make the folder of a file that is to be written. Raises UserError if the file could not be written there."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {reason(error)}") from error
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise UserError(
            f"--out {out} cannot be written: it must name a file, in a folder that you may write to"
        )


def check_folder(out: Path) -> None:
    """Raise UserError if a folder could not be made, or be written into; it is not made yet."""
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(f"--out {out} cannot be written: {there} is not a folder that you may write to")


def warn(remark: str) -> None:
    """Print a warning about data that can be used all the same."""
    print(f"warning: {remark}", file=sys.stderr)
