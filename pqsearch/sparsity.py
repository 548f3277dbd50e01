"""Which weights of a layer may be zero together, and how many: the one rule behind masks, costs and the spec's checks."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Sizes of the blocks of N:M: so 1 - N / M is exact.
BLOCKS = (2, 4, 8, 16, 32)
#: How patterns are written.
WORDS = '"layer", "filter" or N:M as "2:4"'

#: What a product of a share and a number of weights may lack of a whole number and still count as it.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Pattern:
    """Where zeros may be: anywhere in a layer, the same number in every filter, or all but `kept` in every `block` of weights.

    Blocks follow one another in a filter's weights by position, input channels innermost; a last block that is not whole stays.
    """

    per_filter: bool = False
    kept: int = 0
    block: int = 0

    @property
    def share(self) -> float | None:
        """The share of zeros of every block, None where any share will do."""
        return 1 - self.kept / self.block if self.block else None

    def problem(self, share: float) -> str | None:
        """What a share must be instead, in words; None for one that the pattern has."""
        if self.share is None or share in (0, self.share):
            return None
        return f"must be 0 or {self.share:g} with the pattern {self.kept}:{self.block}"


def pattern_of(text: str) -> Pattern | None:
    """A pattern as a spec writes it, None where it is none."""
    if text in ("layer", "filter"):
        return Pattern(per_filter=text == "filter")
    found = re.fullmatch(r"(\d{1,2}):(\d{1,2})", text)
    if found is None:
        return None
    kept, block = map(int, found.groups())
    return Pattern(True, kept, block) if block in BLOCKS and 0 < kept < block else None
