"""Command line: `python -m service serve`, `segment` and `demo`.

Exit codes: 0 done; 1 it failed, some images of a folder were skipped, or requests were lost; 2 wrong use, and one line
says what is wrong; 130 interrupted.
"""

from __future__ import annotations

import os
import signal

# Threads of OpenMP that wait for work look for it for some 0.1 ms before they sleep. It is read when PyTorch is loaded.
SPINS = "10000"


def main() -> None:
    """Run the command that was given. Ctrl-C leaves no traceback, not even while packages are being imported."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    from service.cli.commands import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    app()


if __name__ == "__main__":
    main()
