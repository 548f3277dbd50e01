"""TPE is Optuna's own, shown the history without copying it."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from pqsearch import rooms
from pqsearch.problem import Outcome
from tests.pqsearch.problems import Knapsack, separable

PROBLEM = Knapsack([4, 1, 3, 5, 2, 6, 4])
SCORE = separable(PROBLEM)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("multivariate", [True, False])
def test_suggestions_are_those_of_optunas_own_study_with_the_same_trials(multivariate: bool) -> None:
    rng = np.random.default_rng(0)
    algorithm = rooms.load("algorithms", "tpe")(PROBLEM, 3, startup=5, multivariate=multivariate)
    space = {
        str(knob): optuna.distributions.IntDistribution(0, levels - 1)
        for knob, levels in enumerate(PROBLEM.levels)
        if levels > 1
    }
    trials = []
    for id, row in enumerate(PROBLEM.repair(rng.integers(0, PROBLEM.levels, (40, 7)))):
        genes = tuple(map(int, row))
        failed = id % 7 == 0
        algorithm.asked(id, genes, {})
        algorithm.tell(id, genes, Outcome((), failed=True) if failed else Outcome((SCORE(genes),)))
        trials.append(
            create_trial(
                state=TrialState.FAIL if failed else TrialState.COMPLETE,
                params={name: genes[int(name)] for name in space},
                distributions=space,
                value=None if failed else SCORE(genes),
            )
        )
    algorithm._archive.seen.clear()  # so that nothing counts as a repetition: the draw itself is compared
    for id in range(40, 45):
        seed = int(np.random.SeedSequence((3, id)).generate_state(1)[0])
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=5, multivariate=multivariate)
        study = optuna.create_study(sampler=sampler)
        study.add_trials(trials)
        params = study.ask(space).params
        expected = PROBLEM.repair(np.array([[params.get(str(knob), 0) for knob in range(7)]]))[0]
        assert algorithm.ask([id])[0].genes == tuple(map(int, expected))


def test_plans_are_new_as_long_as_there_are_new_ones() -> None:
    problem = Knapsack([4] * 8)
    score = separable(problem)
    algorithm = rooms.load("algorithms", "tpe")(problem, 0)
    seen = set()
    for id in range(70):
        (proposal,) = algorithm.ask([id])
        assert proposal.genes not in seen
        seen.add(proposal.genes)
        algorithm.asked(id, proposal.genes, proposal.memo)
        algorithm.tell(id, proposal.genes, Outcome((score(proposal.genes),)))


def test_a_candidate_told_again_from_a_further_rung_counts_with_that() -> None:
    rng = np.random.default_rng(0)
    plans = [tuple(map(int, row)) for row in PROBLEM.repair(rng.integers(0, PROBLEM.levels, (30, 7)))]

    def shown(further: bool) -> list:
        algorithm = rooms.load("algorithms", "tpe")(PROBLEM, 0, startup=5)
        for id, genes in enumerate(plans):
            algorithm.asked(id, genes, {})
            algorithm.tell(id, genes, Outcome((SCORE(genes),), 0))
        algorithm.ask([30])  # whatever it keeps from here must not outlive the next word
        if further:
            for id, genes in enumerate(plans):
                algorithm.tell(id, genes, Outcome((1 - SCORE(genes),), 1))
        return algorithm.ask(range(31, 41))

    assert shown(True) != shown(False)
