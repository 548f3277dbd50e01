"""One forward pass that hooks look at."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def hooked_pass(model: nn.Module, images: Tensor, handles: Sequence[RemovableHandle]) -> None:
    """Send images through `model` in evaluation; afterwards it is in the mode that it was in, and the hooks of `handles` are gone."""
    mode = model.training
    model.eval()
    try:
        model(images)
    finally:
        model.train(mode)
        for handle in handles:
            handle.remove()
