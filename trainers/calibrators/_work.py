"""What a calibrator that takes minutes has besides network and images: somebody to tell, and a file to go on from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers import files


@dataclass(frozen=True)
class Work:
    """`progress` hears of done and all parts. What is done is kept in `checkpoint`, from where a later call goes on; where all is
    done it has nothing left to do.
    """

    progress: Callable[[int, int], None] = lambda done, total: None
    checkpoint: Path | None = None

    def begun(self) -> dict[str, Any] | None:
        """What was kept last."""
        if self.checkpoint is None or not self.checkpoint.is_file():
            return None
        found: dict[str, Any] = files.load(self.checkpoint)
        return found

    def keep(self, state: dict[str, Any]) -> None:
        if self.checkpoint is not None:
            files.save(state, self.checkpoint)


NOBODY = Work()
