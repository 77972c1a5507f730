"""Where tests find the repository and the outputs that were recorded from the reference implementation."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
