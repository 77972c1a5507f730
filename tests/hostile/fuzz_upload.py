"""`python -m tests.hostile.fuzz_upload [FOLDER] [libFuzzer's options]`: look for forms that break their reader.

It needs atheris, which follows what branches of the reader an input takes.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["service.http.body"]):
    from tests.hostile.upload_property import check


def main() -> None:
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
