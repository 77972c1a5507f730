"""`python -m model calibrate`: make the scores of boxes agree with how often they are right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.cli.output import check_output, warn


def calibrate(
    checkpoint: Annotated[Path, typer.Option(help="Native .safetensors of a trained model.")],
    data: Annotated[Path, typer.Option(help="COCO-format annotations it was not trained on.")],
    images: Annotated[Path, typer.Option(help="Folder of their images.")],
    out: Annotated[Path, typer.Option(help="The same model with calibrated scores.")],
) -> None:
    """Calibrate the scores of boxes: of those at 0.7, seven in ten shall be right.

    With `mask_score` in its configuration the model still multiplies them by what it expects of the masks.
    """
    # Imported here so that the help need not wait for PyTorch.
    import torch

    from model.checkpoints.checkpoint import of_task, open_checkpoint, save
    from model.evaluation.calibration import calibrate as run

    check_output(out)
    calibrated, lines = run(of_task(open_checkpoint(checkpoint), "instance"), data, images, notify=warn)
    save(out, calibrated, torch.float16)
    print("\n".join([f"{out}: {lines[0]}", *lines[1:]]))
