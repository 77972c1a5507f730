"""API keys. Several may be valid at once, so that one can be replaced without an outage."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers

from model.errors import UserError
from service.http.problems import Problem
from service.settings import Settings


@dataclass(frozen=True)
class Keys:
    """The digests of the valid keys. Without any, no key is needed."""

    digests: tuple[bytes, ...] = ()

    @staticmethod
    def of(settings: Settings) -> Keys:
        """Return the keys of the settings and of the file that they name. Raises UserError, OSError."""
        texts = [key.get_secret_value() for key in settings.api_keys]
        if settings.api_keys_file is not None:
            texts += _lines(settings.api_keys_file)
        return Keys(tuple(map(_digest, texts)))

    def check(self, headers: Headers) -> None:
        """Raise Problem unless a valid key came as `Authorization: Bearer …` or `X-API-Key: …`, or none is needed."""
        if not self.digests:
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
        if not given:
            raise _unauthorized("an API key is needed: send Authorization: Bearer KEY, or X-API-Key: KEY")
        if not _any_equal(_digest(given), self.digests):
            raise _unauthorized("the API key is not valid")


def _unauthorized(detail: str) -> Problem:
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _any_equal(given: bytes, digests: Iterable[bytes]) -> bool:
    """Compare with every digest, in a time that does not depend on how much of one is equal."""
    return sum(hmac.compare_digest(given, digest) for digest in digests) > 0


def _lines(path: Path) -> list[str]:
    keys = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    keys = [key for key in keys if key and not key.startswith("#")]
    if not keys or not all(key.isascii() for key in keys):
        raise UserError(f"{path} must have an API key a line, of ASCII characters")
    return keys
