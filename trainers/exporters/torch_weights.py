"""`model.pth`: the state dict of the compressed network; `plan.json` beside it says how to rebuild the module."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from trainers import files


def export(model: nn.Module, folder: Path) -> list[Path]:
    """Write the weights of `model` to `folder`; returns the files written."""
    path = folder / "model.pth"
    files.save({name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}, path)
    return [path]
