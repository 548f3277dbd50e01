"""Everything that touches torch: models, data, surgery, quantisers and the training loop."""

from __future__ import annotations

from trainers.compress import compress

__all__ = ["compress"]
