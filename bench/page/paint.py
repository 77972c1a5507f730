"""`python -m bench.page.paint URL`: when a browser has painted the page of a service, and what it loaded for it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from statistics import median
from typing import Any

from bench.page.browser import chromium

VISITS = 5
PAINT = """async () => {
  const painted = () => performance.getEntriesByName("first-contentful-paint")[0];
  while (!painted()) await new Promise(requestAnimationFrame);
  return painted().startTime;
}"""
MASKS = """async () => {
  while (!document.getElementById("picture").dataset.drawn) await new Promise(requestAnimationFrame);
  return performance.now();
}"""
BYTES = """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
  .map((entry) => [new URL(entry.name).pathname, entry.decodedBodySize])"""


def measure(url: str) -> dict[str, Any]:
    """Return the milliseconds to the first paint and to the example's masks, each visit with an empty cache."""
    paints, masks, sizes = [], [], {}
    with chromium() as browser:
        for _ in range(VISITS):
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.goto(url)
            paints.append(round(page.evaluate(PAINT)))
            masks.append(round(page.evaluate(MASKS)))
            sizes = dict(page.evaluate(BYTES))
            context.close()
    own = {name: size for name, size in sizes.items() if "/example/" not in name and "/models" not in name}
    return {
        "first_paint_ms": {"median": median(paints), "all": paints},
        "masks_of_the_example_ms": {"median": median(masks), "all": masks},
        "bytes_of_page_and_scripts": sum(own.values()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(description="Measure when the page is painted.")
    parser.add_argument("url", help="address of a running service")
    print(json.dumps(measure(parser.parse_args(arguments).url), indent=1))


if __name__ == "__main__":
    main()
