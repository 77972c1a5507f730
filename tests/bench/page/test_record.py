"""The answer that the page opens with is the one of the README, which tests/docs asks the shipped weights for."""

from __future__ import annotations

import json
import re

from tests.paths import ROOT


def test_the_recorded_answer_is_the_one_of_the_readme() -> None:
    last = (ROOT / "service/page/example/astronaut.ndjson").read_text().splitlines()[-1]
    (person,) = json.loads(last)["instances"]
    numbers = re.findall(r'"(?:score|bbox|area)": (\[[^]]*\]|[\d.]+)', (ROOT / "README.md").read_text())
    score, bbox, area = map(json.loads, numbers[:3])
    assert (person["score"], person["bbox"], person["area"]) == (score, bbox, area)
