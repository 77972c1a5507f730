"""Command line: `python -m model train`, `evaluate`, `label` and `calibrate`.

Errors end as model/command_line.py says: in one line, with the traceback of a bug kept in a file. Exit codes are
0 done; 1 it failed; 2 wrong use, which includes data and checkpoints that cannot be used; 130 interrupted.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command that was given. Ctrl-C leaves no traceback, not even while packages are being imported."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from model.cli.commands import run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
