"""`pqsearch merge-bn`: a network's batch norm folded into its layers, and its weights written down. No Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pqsearch.check import network_of
from pqsearch.errors import UserError, writing
from pqsearch.run_dir import RunDirectory, is_run
from trainers.files import save
from trainers.merging import Merged, merge_batch_norm

#: Images that the two networks are compared on.
COMPARED = 8


def merge(target: str | Path, out: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Merge the batch norm of a spec's network with its `model.weights`, or of a run's exported one; its state dict goes to `out`.

    Returns `into` (norm -> layer), `left` (norm -> why it stays), `input_shape` of an image, and `difference`: the largest one of any
    output on random images, in float64 where the network can be, as a share of the largest output. Raises `UserError` where nothing
    can be merged, and where `out` cannot be written.
    """
    prepared, model = network_of(target, overrides)
    shape = prepared.dataset.input_shape
    try:
        merged, difference = _merged(model.double(), shape)
    except RuntimeError:  # a forward pass that insists on single precision
        merged, difference = _merged(model.float(), shape)
    if not merged.into:
        raise UserError(f"{target}: nothing can be merged: {_why(target, merged.left)}")
    with writing(f"--out {out}"):
        save(merged.model.float().state_dict(), Path(out))
    return {"into": merged.into, "left": merged.left, "input_shape": shape, "difference": difference}


def _why(target: str | Path, left: Mapping[str, str]) -> str:
    """The first norm with its reason, the number of the others, and what may be merged instead."""
    if not left:
        return "it has no batch norm"
    (name, reason), others = next(iter(left.items())), len(left) - 1
    why = f"{name}: {reason}" + (f" (and {others} more)" if others else "")
    if not is_run(target):
        return why
    baseline = RunDirectory(target).baseline
    return f"{why}; the run's float network can: `pqsearch merge-bn SPEC --set model.weights={baseline}`"


def _merged(model: nn.Module, shape: tuple[int, ...]) -> tuple[Merged, float]:
    merged = merge_batch_norm(model, shape)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(COMPARED, *shape, generator=generator, dtype=next(model.parameters()).dtype)
    with torch.no_grad():
        wanted = model(images)
        difference, largest = (merged.model(images) - wanted).abs().max(), wanted.abs().max()
    # What gives nothing but zeros has no share.
    return merged, float(difference / largest if largest else difference)
