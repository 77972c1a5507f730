"""The services that the client asks."""

from tests.service.conftest import discs, label_maps, one_thread, tiny

__all__ = ["discs", "label_maps", "one_thread", "tiny"]
