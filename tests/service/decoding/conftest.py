"""What all tests of decoding need."""

from __future__ import annotations

import pytest

from tests.service.decoding import support


@pytest.fixture(autouse=True)
def _only_own_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests in this process may share a server, which decodes in processes of its own."""
    monkeypatch.setattr(support, "OTHERS", frozenset(support.children()))
