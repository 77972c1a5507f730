"""Command line: `python -m export --checkpoint FILE [--preset NAME | --config YAML] --out DIR`.

Exit codes: 0 done; 1 it failed, such as a graph that differs from its network; 2 wrong use; 130 interrupted.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command that was given. Ctrl-C leaves no traceback, not even while packages are being imported."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from export.cli import run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
