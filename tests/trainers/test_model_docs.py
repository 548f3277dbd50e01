from __future__ import annotations

from pathlib import Path

import pytest

from pqsearch import rooms
from trainers.model_docs import Row, line, rows

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text()
QUICK = [row for row in rows() if row.name in ("lenet", "pnasnet", "bireal_resnet") or row.options == {"depth": 20}]


@pytest.mark.parametrize("row", QUICK, ids=lambda row: f"{row.name} {row.options}")
def test_the_page_says_of_a_network_what_its_command_counts_today(row: Row) -> None:
    assert line(row) in PAGE


def test_the_page_has_every_network_of_the_house() -> None:
    # The network for the digits is the quickstart's, not one of the field.
    assert {row.name for row in rows() if ":" not in row.name} == set(rooms.names("models")) - {"digits_net"}
    assert all(f"| `{row.name}` | {' '.join(f'{k}={v}' for k, v in row.options.items())} |" in PAGE for row in rows())
