"""Clients of an app with a stub model, and of one with the tiny untrained network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from fastapi.testclient import TestClient

from export.bundle import Bundle
from service.app import create_app
from tests.service.label_maps import street
from tests.service.support import Discs, disc_bundle, settings, tiny_bundle, wait_for


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """With more, small tensors wait for threads that other processes keep from running."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def discs() -> Discs:
    found = Discs()
    found.gate.set()
    return found


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    """A client of an app that many tests share: it counts what all of them did. No test may make it fail."""
    discs = Discs()
    discs.gate.set()
    with _client_of(discs) as found:
        yield found


@pytest.fixture
def own_client(discs: Discs) -> Iterator[TestClient]:
    """A client of an app of one test alone, whose model is `discs`."""
    with _client_of(discs) as found:
        discs.batches.clear()
        yield found


@contextmanager
def _client_of(discs: Discs) -> Iterator[TestClient]:
    """Limits are low, so that they are easily passed."""
    app = create_app(settings(max_body_bytes=200_000, max_pixels=1_000_000), [disc_bundle(discs)])
    with TestClient(app) as found:
        wait_for(lambda: found.get("/readyz").is_success)
        yield found


@pytest.fixture(scope="session")
def tiny() -> Bundle:
    return tiny_bundle()


@pytest.fixture(scope="session")
def label_maps() -> Bundle:
    return street()


@pytest.fixture(scope="session")
def tiny_client(tiny: Bundle) -> Iterator[TestClient]:
    with TestClient(create_app(settings(), [tiny])) as found:
        wait_for(lambda: found.get("/readyz").is_success)
        yield found
