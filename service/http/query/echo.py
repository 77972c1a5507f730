"""What of a client's words, and of long lists, is repeated in answers and logs."""

from __future__ import annotations

from collections.abc import Iterable

MOST = 200  # characters


def cut(text: str, most: int = MOST) -> str:
    """Return the text, or its beginning if it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def listed(names: Iterable[str]) -> str:
    """Return the names, comma-separated: only some and their number if all would take more than MOST characters."""
    known = list(names)
    text, shown = ", ".join(known), len(known)
    while len(text) > MOST and shown > 1:
        shown = max(1, shown // 2)
        text = ", ".join(known[:shown])
    return cut(text) + (f", … ({len(known)} in all)" if shown < len(known) else "")
