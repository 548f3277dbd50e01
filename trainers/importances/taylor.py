"""First-order Taylor expansion of the loss (Molchanov et al., Importance Estimation, CVPR 2019), per group."""

from __future__ import annotations

import torch
from torch import Tensor

#: Needs the gradient of the loss with respect to the weights.
GRADIENTS = True


def importance(weights: list[Tensor], gradients: list[Tensor] | None) -> Tensor:
    """Scores (channels,): the squared sum of weight times gradient (equation 8), added over the layers of the group."""
    assert gradients is not None
    changes = [(weight * gradient).sum(1).square() for weight, gradient in zip(weights, gradients, strict=True)]
    return torch.stack(changes).sum(0)
