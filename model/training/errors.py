"""The errors of training runs."""

from __future__ import annotations

from model.errors import UserError


class TrainingError(UserError):
    """Training cannot start or go on; the message says why and what to do."""


class LossNotFinite(Exception):
    """A run that cannot go on, because its loss became infinite or NaN."""
