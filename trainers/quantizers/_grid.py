"""What quantisers have in common: bits, the ends of the grid, and whether what they saw has a sign."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from pqsearch.errors import UserError
from trainers.calibrators._observe import check_finite


class SignedByData(nn.Module):
    """A grid whose weights are signed, and whose activations are where calibration sees a value below zero. The `step` of each
    quantiser is its own: a parameter where it is learned, else a buffer.
    """

    step: Tensor
    seen_signed: Tensor

    def __init__(self, bits: int, role: Literal["weight", "act"], step: Tensor, known: tuple[int, int]) -> None:
        super().__init__()
        fewest, most = known
        if not fewest <= bits <= most:
            name = type(self).__module__.rpartition(".")[2]
            raise UserError(f"quantizer: {name} has {fewest} to {most} bits, got {bits}; choose another quantizer")
        self.bits = bits
        self.role = role
        if isinstance(step, nn.Parameter):
            self.step = step
        else:
            self.register_buffer("step", step)
        # -1: not calibrated, 0: unsigned, 1: signed. Part of the state dict, so that a grid survives its file.
        self.register_buffer("seen_signed", torch.tensor(-1, dtype=torch.int8))
        self._state = -1

    @property
    def ready(self) -> bool:
        return self._state >= 0

    @property
    def signed(self) -> bool:
        return self._state != 0

    @property
    def low(self) -> int:
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return max(1, 2 ** (self.bits - 1) - 1) if self.signed else 2**self.bits - 1

    def see(self, x: Tensor) -> None:
        """Decide on the sign. Raises `FloatingPointError` for values that are not finite."""
        check_finite(x)
        self._state = int(self.role == "weight" or bool((x < 0).any()))
        self.seen_signed.fill_(self._state)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._state = int(self.seen_signed)
