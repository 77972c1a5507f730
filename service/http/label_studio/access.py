"""How the service proves to Label Studio who it is: with a token of either kind that Label Studio has."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from model.errors import UserError
from service.settings import Settings

# A personal access token is a JSON Web Token, with which tokens for some minutes are got. A legacy token is 40 digits.
_PERSONAL = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class StudioToken:
    """The token of the settings, or of the file that they name, which is read each time so that it can be replaced."""

    read: Callable[[], str]

    @staticmethod
    def of(settings: Settings) -> StudioToken:
        """Return the token of the settings. Raise UserError unless there is one. Raises OSError."""
        given, path = settings.label_studio_token, settings.label_studio_token_file
        if (given is None) == (path is None):
            raise UserError("label_studio_url: needs either label_studio_token or label_studio_token_file")
        token = StudioToken(_reader(given, path))
        token.read()
        return token

    @property
    def personal(self) -> str | None:
        """The token if it is one to get others with."""
        token = self.read()
        return token if _PERSONAL.fullmatch(token) else None


def _reader(given: SecretStr | None, path: Path | None) -> Callable[[], str]:
    def read() -> str:
        if path is not None:
            return _usable(path.read_text(encoding="utf-8"), str(path))
        assert given is not None
        return _usable(given.get_secret_value(), "label_studio_token")

    return read


def _usable(text: str, where: str) -> str:
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise UserError(f"{where}: must hold a token of Label Studio, of ASCII characters without spaces")
    return token
