"""Command line: `python -m service serve`, `segment` and `demo`.

Exit codes: 0 done; 1 it failed, some images of a folder were skipped, or requests were lost; 2 wrong use, and one line
says what is wrong; 130 interrupted.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command that was given. Ctrl-C leaves no traceback, not even while packages are being imported."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from service.cli.commands import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    app()


if __name__ == "__main__":
    main()
