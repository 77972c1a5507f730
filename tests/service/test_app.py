"""What is set when the app is created."""

import torch

from service.app import create_app
from tests.service.support import disc_bundle, settings


def test_the_thread_that_creates_the_app_computes_alone() -> None:
    """Else OpenMP would keep a team of threads for it, beside that of the device's thread."""
    torch.set_num_threads(2)
    create_app(settings(), [disc_bundle([])])
    assert torch.get_num_threads() == 1
