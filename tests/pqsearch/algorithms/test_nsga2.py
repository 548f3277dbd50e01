"""What NSGA-II does beyond what every algorithm does: it trades objectives off."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np

from pqsearch.algorithms import nsga2
from pqsearch.algorithms._fronts import fronts
from pqsearch.problem import Genes, Outcome
from tests.pqsearch.algorithms.folding import hand_out, make, proposals
from tests.pqsearch.problems import Knapsack, separable

PROBLEM = Knapsack([4] * 24)
Values = tuple[float, ...]
GOODS = separable(PROBLEM, 1), separable(PROBLEM, 2)


def _both(genes: Genes) -> Values:
    return tuple(good(genes) for good in GOODS)


def _search(name: str, seed: int, evaluations: int = 400) -> np.ndarray:
    algorithm = make(name, PROBLEM, seed)
    found = []
    for first in range(0, evaluations, 4):
        for id, genes, _ in hand_out(algorithm, PROBLEM, first, 4):
            found.append(_both(genes))
            algorithm.tell(id, genes, Outcome(found[-1]))
    return np.array(found)


def _front(values: np.ndarray) -> np.ndarray:
    """The distinct best points, by the first objective."""
    return np.unique(values[fronts(values) == 0], axis=0)


def _hypervolume(values: np.ndarray) -> float:
    """The area between the front of two objectives and (1, 1)."""
    front = _front(values)
    return float(((np.append(front[1:, 0], 1.0) - front[:, 0]) * (1 - front[:, 1])).sum())


def _told(algorithm: Any, plans: np.ndarray, outcomes: list[Outcome]) -> Any:
    for id, (genes, outcome) in enumerate(zip(map(tuple, plans.tolist()), outcomes, strict=True)):
        algorithm.asked(id, genes, {})
        algorithm.tell(id, genes, outcome)
    return algorithm


def _children(algorithm: Any, first: int, number: int = 20) -> np.ndarray:
    return np.array([proposal.genes for proposal in proposals(algorithm, first, number)])


def _distance(plans: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.abs(plans[:, None] - others[None]).sum(2).min(1)


def test_its_front_dominates_more_than_that_of_random_search() -> None:
    for seed in range(2):
        assert _hypervolume(_search("nsga2", seed)) > 1.05 * _hypervolume(_search("random_search", seed))


def test_its_front_spreads_over_both_objectives() -> None:
    for seed in range(2):
        values = _search("nsga2", seed)
        front = _front(values)
        assert len(front) >= 4
        assert (np.ptp(front, axis=0) > 0.1 * np.ptp(values, axis=0)).all()


def _two_kinds() -> tuple[np.ndarray, np.ndarray]:
    """Eight plans that use the first half of the knobs, and eight that use the second."""
    rng = np.random.default_rng(0)
    first = np.hstack([rng.integers(2, 4, (8, 12)), np.zeros((8, 12), dtype=np.int64)])
    return PROBLEM.repair(first), PROBLEM.repair(first[:, ::-1])


def test_a_dominated_plan_never_breeds_when_the_population_is_full() -> None:
    good, bad = _two_kinds()
    outcomes = [Outcome((i / 8, 1 - i / 8)) for i in range(8)] + [Outcome((i / 8 + 0.01, 1 - i / 8)) for i in range(8)]
    algorithm = _told(make("nsga2", PROBLEM, population=8, mutation=1.0), np.concatenate([good, bad]), outcomes)
    children = _children(algorithm, 16)
    assert (_distance(children, good) < _distance(children, bad)).all()


def test_a_dominated_plan_breeds_while_there_is_room() -> None:
    good, bad = _two_kinds()
    outcomes = [Outcome((0.1, 0.1))] + [Outcome((0.5, 0.5))] * 8
    plans = np.concatenate([good[:1], bad])
    algorithm = _told(make("nsga2", PROBLEM, population=9, mutation=1.0, crossover=0.0), plans, outcomes)
    children = _children(algorithm, 9)
    assert (_distance(children, bad) < _distance(children, good)).any()


def test_results_of_a_lower_rung_breed_only_where_the_higher_leave_room() -> None:
    good, bad = _two_kinds()
    outcomes = [Outcome((0.9, 0.9), 1)] * 8 + [Outcome((0.1, 0.1), 0)] * 8
    algorithm = _told(make("nsga2", PROBLEM, population=8, mutation=1.0), np.concatenate([good, bad]), outcomes)
    children = _children(algorithm, 16)
    assert (_distance(children, good) < _distance(children, bad)).all()


def test_failures_never_become_parents() -> None:
    good, bad = _two_kinds()
    outcomes = [Outcome((0.9, 0.9))] * 2 + [Outcome((), failed=True)] * 8
    plans = np.concatenate([good[:2], bad])
    children = _children(_told(make("nsga2", PROBLEM, population=8, mutation=1.0), plans, outcomes), 10)
    assert (_distance(children, good) < _distance(children, bad)).all()


def test_the_ends_of_a_crowded_front_breed_more_than_its_middle() -> None:
    """Two ends, far apart, and six plans side by side: nobody dominates anybody."""
    middle, ends = _two_kinds()
    values = [(0.0, 1.0), (1.0, 0.0), *((0.5 + i / 100, 0.5 - i / 100) for i in range(6))]
    plans = np.concatenate([ends[:2], middle[:6]])
    algorithm = make("nsga2", PROBLEM, population=8, mutation=1.0, crossover=0.0)
    children = _children(_told(algorithm, plans, [Outcome(pair) for pair in values]), 8, 200)
    bred_of_ends = (_distance(children, ends[:2]) < _distance(children, middle[:6])).mean()
    assert bred_of_ends > 0.35  # the two of eight would have 0.25 were it not for the room they have


def test_the_file_says_that_it_handles_several_objectives() -> None:
    names = [
        node.target.id if isinstance(node, ast.AnnAssign) else node.targets[0].id  # type: ignore[union-attr, attr-defined]
        for node in ast.parse(Path(nsga2.__file__).read_text()).body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
    ]
    assert "SEVERAL_OBJECTIVES" in names and nsga2.SEVERAL_OBJECTIVES is True
