from __future__ import annotations

import json
import re
from typing import Any

import pytest

from cluster.targets import grafana
from pqsearch.metric_names import METRICS, RAYS
from tests.cluster.cases import CASES, order_of
from tests.cluster.checks import board_problems

TEXT = CASES["grafana"].rendered().text
BOARD: dict[str, Any] = json.loads(TEXT)
QUERIES = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]


def test_grafanas_own_model_reads_the_board_and_writes_the_same() -> None:
    assert board_problems(TEXT) == []


@pytest.mark.parametrize(
    ("there", "instead"),
    [('"gridPos"', '"gridpos"'), ('"expr"', '"query"'), ('"datasource"', '"source"'), ('"overrides"', '"over"')],
)
def test_a_misspelt_key_is_noticed(there: str, instead: str) -> None:
    assert there in TEXT
    assert board_problems(TEXT.replace(there, instead))


def test_every_metric_is_drawn_and_nothing_else_is_asked_for() -> None:
    asked = {name for query in QUERIES for name in re.findall(rf"{RAYS}(\w+)", query)}
    assert asked == METRICS.keys()


def test_every_query_is_of_the_chosen_studies_only() -> None:
    for query in QUERIES:
        assert query.count('study=~"$study"') == query.count(RAYS)


def test_it_opens_on_the_study_of_the_spec() -> None:
    board = json.loads(grafana.render(order_of(study__name="mine")).text)
    (study,) = (variable for variable in board["templating"]["list"] if variable["name"] == "study")
    assert study["current"]["value"] == ["mine"]


def test_panels_cover_the_grid_without_overlaps() -> None:
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in BOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < grafana.WIDTH


def test_numbers_of_panels_are_unique() -> None:
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert len(numbers) == len(set(numbers))
