"""The error of everything that reads checkpoints."""

from __future__ import annotations

from model.errors import UserError


class CheckpointError(UserError):
    """A checkpoint that is damaged, foreign, newer than this code, or made for another network."""
