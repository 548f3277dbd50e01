"""`pqsearch merge-bn`: a network's batch norm folded into its layers, and its weights written down. No Ray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pqsearch.check import network_of
from pqsearch.errors import UserError, writing
from trainers.files import save
from trainers.merging import Merged, merge_batch_norm

#: Images that the two networks are compared on.
COMPARED = 8


def merge(target: str | Path, out: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Merge the batch norm of a spec's network with its `model.weights`, or of a run's exported one; its state dict goes to `out`.

    Returns `into` (norm -> layer), `left` (norm -> why it stays), and `difference`: the largest one of any output on random images,
    in float64 where the network can be, as a share of the largest output. Raises `UserError` where nothing can be merged, and
    where `out` cannot be written.
    """
    prepared, model = network_of(target, overrides)
    shape = prepared.dataset.input_shape
    try:
        merged, difference = _merged(model.double(), shape)
    except RuntimeError:  # a forward pass that insists on single precision
        merged, difference = _merged(model.float(), shape)
    if not merged.into:
        why = "; ".join(f"{name} {reason}" for name, reason in merged.left.items()) or "it has no batch norm"
        raise UserError(f"{target}: nothing can be merged: {why}")
    with writing(f"--out {out}"):
        save(merged.model.float().state_dict(), Path(out))
    return {"into": merged.into, "left": merged.left, "difference": difference}


def _merged(model: nn.Module, shape: tuple[int, ...]) -> tuple[Merged, float]:
    merged = merge_batch_norm(model, shape)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(COMPARED, *shape, generator=generator, dtype=next(model.parameters()).dtype)
    with torch.no_grad():
        wanted = model(images)
        return merged, float((merged.model(images) - wanted).abs().max() / wanted.abs().max())
