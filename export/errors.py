"""The errors of exporting and of opening bundles. Their messages are one line each."""

from __future__ import annotations

from model.errors import UserError


class BundleError(UserError):
    """A bundle is missing, damaged, foreign, or of another schema than this version reads."""


class ParityError(RuntimeError):
    """An exported graph does not do what its network does."""
