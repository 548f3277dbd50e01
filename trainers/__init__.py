"""Everything that touches torch: models, data, surgery, quantisers and the training loop."""

from __future__ import annotations

from trainers.compress import compress
from trainers.datasets._types import Dataset

__all__ = ["Dataset", "compress"]
