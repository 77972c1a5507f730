"""Why a picture was not decoded although the picture may be fine. What is wrong with a picture is an ImageError."""

from __future__ import annotations


class NoWorker(Exception):
    """No process could be started to decode the picture, or the pool is closed."""


class NoMemory(Exception):
    """The machine had too little memory for a picture that kept to its limits, or for a process."""
