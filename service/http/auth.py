"""API keys. Several may be valid at once, so that one can be replaced without an outage."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers

from model.errors import UserError
from service.http.problems import Problem
from service.settings import Settings

LOOK_SECONDS = 1.0  # between two looks at whether the file has changed
_log = logging.getLogger(__name__)


@dataclass
class KeyFile:
    """The digests of the keys in a file, which is read again when it has changed.

    Raises UserError, OSError if it cannot be read at first. Later, what cannot be read leaves the keys as they are.
    """

    path: Path
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._stamp = _stamp(self.path)
        self._digests = _read(self.path)
        self._looked = self.now()

    def digests(self) -> tuple[bytes, ...]:
        """Return the digests of the keys, after a look at the file if the last one is LOOK_SECONDS ago."""
        if self.now() - self._looked >= LOOK_SECONDS:
            self._looked = self.now()
            stamp = _stamp(self.path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._load()
        return self._digests

    def _load(self) -> None:
        try:
            self._digests = _read(self.path)
            _log.info("%s has changed: %d API keys are valid now", self.path, len(self._digests))
        except (OSError, ValueError) as error:
            _log.error("the API keys stay as they were: %s", error)


@dataclass(frozen=True)
class Keys:
    """The digests of the valid keys, and a file with more of them. Without either, no key is needed."""

    fixed: tuple[bytes, ...] = ()
    file: KeyFile | None = None

    @staticmethod
    def of(settings: Settings) -> Keys:
        """Return the keys of the settings and of the file that they name. Raises UserError, OSError."""
        path = settings.api_keys_file
        fixed = tuple(_digest(key.get_secret_value()) for key in settings.api_keys)
        return Keys(fixed, None if path is None else KeyFile(path))

    @property
    def needed(self) -> bool:
        """Whether requests must have a key."""
        return bool(self.fixed) or self.file is not None

    def check(self, headers: Headers) -> bytes:
        """Return the digest of the key that came as `Authorization: Bearer …` or `X-API-Key: …`.

        Programs that know only names and passwords send it as the password, with any name. The digest is empty if no
        key is needed. Raise Problem unless the key is valid.
        """
        digests = self.fixed + (() if self.file is None else self.file.digests())
        if not digests:
            return b""
        given = headers.get("x-api-key") or _authorization(headers.get("authorization", ""))
        if not given:
            raise _unauthorized("an API key is needed: send Authorization: Bearer KEY, or X-API-Key: KEY")
        digest = _digest(given)
        if not _any_equal(digest, digests):
            raise _unauthorized("the API key is not valid")
        return digest


def _authorization(text: str) -> str:
    """Return the key in a header Authorization; it is empty if there is none."""
    scheme, _, value = text.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return ""


def _unauthorized(detail: str) -> Problem:
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _any_equal(given: bytes, digests: Iterable[bytes]) -> bool:
    """Compare with every digest, in a time that does not depend on how much of one is equal."""
    return sum(hmac.compare_digest(given, digest) for digest in digests) > 0


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return what changes when the file does; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(path: Path) -> tuple[bytes, ...]:
    """Return the digests of a file's keys. Raises UserError, OSError, UnicodeDecodeError."""
    keys = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    keys = [key for key in keys if key and not key.startswith("#")]
    if not keys or not all(key.isascii() for key in keys):
        raise UserError(f"{path} must have an API key a line, of ASCII characters")
    return tuple(map(_digest, keys))
