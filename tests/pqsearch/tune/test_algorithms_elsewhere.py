"""The page on the algorithms outside of pqsearch: what it shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "algorithms_elsewhere.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_block_of_the_page_runs(number: int, cluster: Path) -> None:
    exec(compile(BLOCKS[number], f"block {number}", "exec"), {"__name__": "__main__"})
