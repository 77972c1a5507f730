"""The JavaScript client, tested in Node against real servers."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model.masks import rle
from pointrend_client.parameters import Parameters
from tests.docker.tools import succeeds
from tests.service.support import Discs, disc_bundle, encoded, picture, running, tiny_bundle, wait_for

HERE = Path(__file__).parent
CLIENT = HERE.parents[2] / "clients" / "js"


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    discs = Discs()
    discs.gate.set()
    with (
        running(disc_bundle(discs)) as free,
        running(tiny_bundle(), api_keys="open") as tiny,
    ):
        wait_for(lambda: succeeds(f"{free}/readyz") and succeeds(f"{tiny}/readyz"))
        yield {"DISCS": free, "TINY": tiny}


def test_in_node(addresses: dict[str, str]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node: apt-get install nodejs")
    random = np.random.default_rng(0)
    runs = [random.integers(0, 10**digits, 30) for digits in range(1, 7)]
    given = {
        "PICTURE": base64.b64encode(encoded(picture(120, 80))).decode(),
        "BLACK": base64.b64encode(encoded(picture(120, 80, brightness=0))).decode(),
        "RUNS": json.dumps([(rle.compress(each), each.tolist()) for each in runs]),
    }
    told = subprocess.run(
        [node, "--test", str(HERE / "pointrend.test.mjs")],
        env={**os.environ, **addresses, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_types_name_all_parameters_and_all_exports() -> None:
    types = (CLIENT / "pointrend.d.ts").read_text()
    declared = types.partition("interface Parameters {")[2].partition("\n}")[0]
    assert set(re.findall(r"^  (\w+)\?:", declared, re.MULTILINE)) == set(Parameters.__annotations__)
    exported = re.compile(r"^export (?:declare )?(?:class|function) (\w+)", re.MULTILINE)
    assert exported.findall(types) == exported.findall((CLIENT / "pointrend.js").read_text())
