"""Writing texts into pages of Markdown, between a comment that names the text and one that ends it.

<!-- figures: NAME -->

what is replaced

<!-- end of figures -->
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_SECTION = re.compile(
    r"(?P<begin>^<!-- figures: (?P<name>[a-z-]+) -->\n).*?(?P<end>^<!-- end of figures -->$)",
    re.MULTILINE | re.DOTALL,
)


def names(page: str) -> list[str]:
    """Return the names of all texts in a page."""
    return [match["name"] for match in _SECTION.finditer(page)]


def rewritten(page: str, texts: Mapping[str, str]) -> str:
    """Return a page with new texts in the place of those that it has. A text that is not given stays as it is."""

    def section(match: re.Match[str]) -> str:
        text = texts.get(match["name"])
        return match[0] if text is None else f"{match['begin']}\n{text}\n\n{match['end']}"

    return _SECTION.sub(section, page)
