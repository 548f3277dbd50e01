"""A problem without budgets, and parameters as its levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pqsearch import rooms
from pqsearch.box import Box
from pqsearch.choices import MOST_VALUES, Choices, stepped
from pqsearch.errors import UserError
from pqsearch.following import Asked, Told, event_from_json, follow_by_name
from pqsearch.problem import Finished, Outcome, uniform_genes
from tests.pqsearch.problems import LISTS, separable

BOX = Box([5, 1, 3, 8, 4])


def searched(name: str, box: Box, evaluations: int, seed: int = 0) -> list[float]:
    score = separable(box, seed)  # type: ignore[arg-type]  # it reads the levels only
    following = follow_by_name(name, box, seed, {})
    history: list[Asked | Told] = []
    values = []
    for id in range(evaluations):
        asked = following.propose(id, history)
        if isinstance(asked, Finished):
            break
        assert isinstance(asked, Asked)
        assert (box.repair(np.array([asked.genes])) == asked.genes).all()
        values.append(score(asked.genes))
        history += [asked, Told(id, asked.genes, Outcome((values[-1],)))]
    return values


@pytest.mark.parametrize("name", rooms.names("algorithms"))
def test_every_algorithm_searches_a_box(name: str) -> None:
    values = searched(name, BOX, 40)
    assert 1 <= len(values) <= 12 if name in LISTS else min(values[20:]) < np.mean(values[:10])


@pytest.mark.parametrize("name", [name for name in rooms.names("algorithms") if name not in (*LISTS, "tpe")])
def test_populations_begin_all_over_a_box(name: str) -> None:
    following = follow_by_name(name, Box([50]), 0, {})
    drawn: list[int] = []
    history: list[Asked | Told] = []
    for id in range(4):
        asked = following.propose(id, history)
        assert isinstance(asked, Asked)
        drawn.append(asked.genes[0])
        history.append(asked)
    assert max(drawn) - min(drawn) > 12


def test_the_plan_of_all_middles_stands_for_the_uniform_ones() -> None:
    assert uniform_genes(BOX).tolist() == [[2, 0, 1, 4, 2]]
    assert uniform_genes(Box([2, 3], [[0.1, 100.0], [-1.0, 0.5, 7.0]])).tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("levels", "values", "words"),
    [
        ([], (), "levels: must be whole numbers of at least 1, one per knob"),
        ([3, 0], (), "levels: must be whole numbers of at least 1, one per knob"),
        ([3], [[1.0, 2.0]], r"values: must be one per level, \[3\], got \[2\]"),
    ],
)
def test_a_box_that_makes_no_sense_is_refused(levels: Any, values: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Box(levels, values)


def test_parameters_become_genes_and_come_back() -> None:
    choices = Choices({"x": range(2, 9, 3), "y": stepped("y", 0, 1, 0.1), "z": ["b", None, "a"], "only": [7]})
    assert choices.levels == [3, 11, 3, 1]
    assert choices.decode((1, 3, 1, 0)) == {"x": 5, "y": 0.3, "z": None, "only": 7}
    assert choices.encode({"x": 5, "y": 0.1 + 0.2, "z": None}) == (1, 3, 1, 0)
    assert choices.encode({"x": 5, "y": 0.3}) is None
    assert choices.encode({"x": 4, "y": 0.3, "z": "a"}) is None
    assert choices.box().values[2] == [0, 1, 2]


def test_a_scale_is_no_list_of_levels() -> None:
    with pytest.raises(UserError, match=f"x: must have 1 to {MOST_VALUES} values, got 1000000000; a coarser step"):
        Choices({"x": range(10**9)})
    with pytest.raises(UserError, match=r"y: must have 1 to .* got 10000001"):
        stepped("y", 0, 1, 1e-7)


def test_events_come_back_from_json() -> None:
    for event in (
        Asked(3, (1, 2), {"bee": "scout"}),
        Told(3, (1, 2), Outcome((0.5, 1.0), 2)),
        Told(4, (0,), Outcome((), failed=True)),
    ):
        assert event_from_json(event.to_json()) == event


def test_a_history_that_was_rewritten_is_folded_anew() -> None:
    kept, other = (Told(0, genes, Outcome((1.0,))) for genes in ((0, 0, 0, 0, 0), (1, 0, 1, 1, 1)))
    following = follow_by_name("genetic", BOX, 0, {"population": 2})
    first = [Asked(0, kept.genes, {}), kept, Asked(1, (2, 0, 0, 0, 0), {}), Told(1, (2, 0, 0, 0, 0), Outcome((2.0,)))]
    second = [Asked(0, other.genes, {}), other, *first[2:]]
    following.propose(2, first)
    assert following.propose(2, second) == follow_by_name("genetic", BOX, 0, {"population": 2}).propose(2, second)
