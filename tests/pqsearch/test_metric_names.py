from __future__ import annotations

import re
from pathlib import Path

from pqsearch.metric_names import METRICS, RAYS

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "cluster.md"


def test_the_documentation_lists_every_metric_as_it_is() -> None:
    found = re.findall(rf"^\| `{RAYS}(\w+)`(?: `(\w+)`)? \| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    assert found == [(name, metric.tag or "", metric.meaning) for name, metric in METRICS.items()]
