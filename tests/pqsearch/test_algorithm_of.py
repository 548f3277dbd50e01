"""A user's own algorithm: the documented example runs, and what breaks the contract is named."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pqsearch.algorithm_of import Watched, algorithm_of
from pqsearch.errors import SearchAborted, UserError
from pqsearch.journal.file import Journal
from pqsearch.local import run_locally
from pqsearch.plan import Accuracy, Item, Result
from pqsearch.problem import Finished, Outcome, Proposal, Wait
from pqsearch.samplers import samplers
from pqsearch.searchers import FIT, UNFIT
from pqsearch.settings import Settings
from pqsearch.spec_search import AlgorithmSpec
from pqsearch.study import Study, read_study
from tests.conftest import write_spec
from tests.pqsearch.problems import Knapsack, separable

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = str(ROOT / "examples")
PROBLEM = Knapsack([4] * 6)


class Answering:
    """Gives one answer to every `ask`; what it is told may be too much for it."""

    def __init__(self, answer: Any, fails: str = "") -> None:
        self.answer, self.fails = answer, fails

    def ask(self, ids: Any) -> Any:
        if self.fails == "ask":
            raise ValueError("no\nidea")
        return self.answer

    def asked(self, id: int, genes: Any, memo: Any) -> None:
        if self.fails == "asked":
            raise KeyError(id)

    def tell(self, id: int, genes: Any, outcome: Any) -> None:
        if self.fails == "tell":
            raise RuntimeError("too much")


def test_the_example_in_the_documentation_is_the_one_that_runs() -> None:
    assert (ROOT / "examples" / "hill_climber.py").read_text() in (ROOT / "docs" / "own_algorithm.md").read_text()


@pytest.mark.long
@pytest.mark.usefixtures("warm_ray")
def test_the_example_searches_on_a_cluster(tmp_path: Path) -> None:
    from pqsearch.cli import main

    spec = write_spec(tmp_path, algorithm={"name": "hill_climber:HillClimber", "folder": EXAMPLES, "step": 2})
    assert main(["search", str(spec)]) == 0
    state = read_study(tmp_path / "run" / "journal.jsonl")
    assert state.finished and state.evaluations == 6


def test_the_example_improves_on_what_it_began_with() -> None:
    climber = algorithm_of(AlgorithmSpec(name="hill_climber:HillClimber", folder=EXAMPLES), PROBLEM, 0)
    values = []
    for id in range(60):
        (proposal,) = climber.ask([id])  # type: ignore[misc]
        climber.asked(id, proposal.genes, proposal.memo)  # type: ignore[union-attr]
        values.append(float(sum(level * knob for knob, level in enumerate(proposal.genes))))  # type: ignore[union-attr]
        climber.tell(id, proposal.genes, Outcome((values[-1],)))  # type: ignore[union-attr]
    assert min(values[30:]) < values[0]


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (None, "ask gave NoneType; it must give a list of Proposal, Wait() or Finished()"),
        ([Proposal((0,) * 6)] * 3, "ask gave 3 proposals for 2 ids; it may give fewer, not more"),
        ([(0,) * 6], "ask gave a list with tuple in it; every entry must be a Proposal"),
        ([Proposal((0,) * 5)], "genes must be 6 levels, one per knob, got 5: (0, 0, 0, 0, 0)"),
        ([Proposal([0] * 6)], "genes must be a tuple of whole numbers, got [0, 0, 0, 0, 0, 0]"),  # type: ignore[arg-type]
        ([Proposal((0.5,) * 6)], "genes must be a tuple of whole numbers, got (0.5, 0.5, 0.5, 0.5, 0.5, 0.5)"),  # type: ignore[arg-type]
        ([Proposal((0, 0, 4, 0, 0, 0))], "the level of knob 2 must be from 0 to 3, got 4 in (0, 0, 4, 0, 0, 0)"),
        ([Proposal((0, -1, 0, 0, 0, 0))], "the level of knob 1 must be from 0 to 3, got -1 in (0, -1, 0, 0, 0, 0)"),
        (
            [Proposal((3,) * 6, exact=True)],
            "exact genes must hold every budget, bits is 36 of 18 for (3, 3, 3, 3, 3, 3)",
        ),
        ([Proposal((0,) * 6, None)], "memo must be a dict that JSON can hold, got None for (0, 0, 0, 0, 0, 0)"),  # type: ignore[arg-type]
        ([Proposal((0,) * 6, [1])], "memo must be a dict that JSON can hold, got [1] for (0, 0, 0, 0, 0, 0)"),  # type: ignore[arg-type]
        (
            [Proposal((0,) * 6, {"v": np.float32(1)})],
            "memo must be a dict that JSON can hold, got {'v': np.float32(1.0)} for (0, 0, 0, 0, 0, 0)",
        ),
        (
            [Proposal((0,) * 6, {"v": [math.nan]})],
            "memo must be a dict that JSON can hold, got {'v': [nan]} for (0, 0, 0, 0, 0, 0)",
        ),
        (
            [Proposal((0,) * 6, {"role": "uniform"})],
            "memo must have no 'role', which marks plans of pqsearch's own, got 'uniform' for (0, 0, 0, 0, 0, 0)",
        ),
    ],
)
def test_a_breach_is_named_with_the_genes(answer: Any, rule: str) -> None:
    with pytest.raises(UserError) as caught:
        Watched(Answering(answer), PROBLEM, "mine:Mine").ask([0, 1])
    assert caught.value.problems == (f"algorithm.name: mine:Mine breaks the contract: {rule}",)


class Opinionated(Answering):
    """Says what it takes for the best."""

    def __init__(self, answer: Any, view: Any) -> None:
        super().__init__(answer)
        self.view = view

    def leading(self, number: int) -> Any:
        return self.view


def test_a_view_of_its_own_is_passed_on_and_none_is_needed() -> None:
    assert Watched(Opinionated([], [4, 2]), PROBLEM, "mine:Mine").leading(2) == [4, 2]
    assert Watched(Answering([]), PROBLEM, "mine:Mine").leading(2) == []


@pytest.mark.parametrize("view", [None, (1, 2), ["1"]])
def test_a_view_that_is_none_ends_the_search_with_the_rule(view: Any, tmp_path: Path) -> None:
    own = Opinionated([Proposal((1,) * 6)], view)
    rule = f"leading must give a list of candidate ids, got {view!r}"
    said = _why_it_ended(own, Settings(evaluations=1, confirm=1), tmp_path / "journal.jsonl")
    assert said == f"algorithm.name: mine:Mine breaks the contract: {rule}"


@pytest.mark.parametrize("answer", [Wait(), Finished(), [], [Proposal((0,) * 6)]])
def test_what_keeps_the_contract_passes_as_it_is(answer: Any) -> None:
    assert Watched(Answering(answer), PROBLEM, "mine:Mine").ask([0, 1]) is answer


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        ("ask", "failed when it was asked: ValueError: no idea"),
        ("asked", "failed when it was told of a candidate (asked): KeyError: 0"),
        ("tell", "failed when it was told an outcome (tell): RuntimeError: too much"),
    ],
)
def test_a_search_ends_with_the_reason_and_keeps_what_was_evaluated(fails: str, words: str, tmp_path: Path) -> None:
    own = Answering([Proposal((1,) * 6)], fails)
    said = _why_it_ended(own, Settings(evaluations=5), tmp_path / "journal.jsonl")
    assert said == f"algorithm.name: mine:Mine {words}"
    assert read_study(tmp_path / "journal.jsonl").done == (1 if fails == "tell" else 0)


@pytest.mark.parametrize("memo", [{"v": np.float32(1)}, None, {"role": "uniform"}])
def test_a_memo_that_a_journal_cannot_keep_ends_the_search_and_leaves_the_journal_whole(
    memo: Any, tmp_path: Path
) -> None:
    said = _why_it_ended(Answering([Proposal((1,) * 6, memo)]), Settings(evaluations=5), tmp_path / "journal.jsonl")
    assert said.startswith("algorithm.name: mine:Mine breaks the contract: memo must")
    assert not read_study(tmp_path / "journal.jsonl").by_id


def _why_it_ended(own: Answering, settings: Settings, path: Path) -> str:
    """The words of a search that gives its user's algorithm up."""
    journal, events, _ = Journal.open(path, time.time)
    algorithm = Watched(own, PROBLEM, "mine:Mine")
    study = Study(PROBLEM, lambda prior: algorithm, journal, settings, time.time, events=events)
    with pytest.raises(SearchAborted) as caught:
        run_locally(study, _evaluated)
    journal.close()
    return str(caught.value)


def _evaluated(item: Item) -> Result:
    return Result(item.id, item.rung, item.repeat, Accuracy(0.5, 100), 1.0, {"train": 0.1})


def test_a_class_without_the_methods_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bare_algorithm.py").write_text(
        "class Bare:\n    def __init__(self, problem, seed): pass\n    def ask(self, ids): return []\n"
    )
    with pytest.raises(UserError, match="has no method asked and no tell"):
        algorithm_of(AlgorithmSpec(name="bare_algorithm:Bare", folder=str(tmp_path)), PROBLEM, 0)


@pytest.mark.parametrize("name", [*(f"optuna:{sampler}" for sampler in samplers()), *(f"tune:{name}" for name in FIT)])
def test_every_sampler_and_searcher_of_others_goes_on_after_a_kill_as_if_there_had_been_none(name: str) -> None:
    """Memos go through JSON, as in a journal."""
    options = {"population_size": 6} if "NSGA" in name else {}
    spec = AlgorithmSpec(name=name, **options)  # type: ignore[arg-type]
    score = separable(PROBLEM)
    unbroken = algorithm_of(spec, PROBLEM, 0)
    events = []
    for id in range(24):
        (proposal,) = unbroken.ask([id])  # type: ignore[misc]
        genes, memo = proposal.genes, json.loads(json.dumps(proposal.memo))  # type: ignore[union-attr]
        if id == 16:
            resumed = algorithm_of(spec, PROBLEM, 0)
            for number, (old, note) in enumerate(events):
                resumed.asked(number, old, note)
                resumed.tell(number, old, Outcome((score(old),)))
            assert resumed.ask([id]) == [proposal]
        events.append((genes, memo))
        unbroken.asked(id, genes, memo)
        unbroken.tell(id, genes, Outcome((score(genes),)))
    assert len({genes for genes, _ in events}) == 24


def test_every_searcher_of_tune_is_either_fit_or_refused_with_a_reason() -> None:
    from ray.tune.search import SEARCH_ALG_IMPORT

    assert {load().__name__ for load in SEARCH_ALG_IMPORT.values()} < {*FIT, *UNFIT}


def test_tunes_searcher_passes_over_failures_and_fixed_knobs() -> None:
    searched = algorithm_of(AlgorithmSpec(name="tune:OptunaSearch"), Knapsack([1, 4, 1, 6]), 0)
    for id in range(15):
        (proposal,) = searched.ask([id])  # type: ignore[misc]
        searched.asked(id, proposal.genes, proposal.memo)  # type: ignore[union-attr]
        searched.tell(id, proposal.genes, Outcome((), failed=True) if id % 3 else Outcome((1.0,)))  # type: ignore[union-attr]
    assert algorithm_of(AlgorithmSpec(name="tune:OptunaSearch"), Knapsack([1]), 0).ask([0]) == [Proposal((0,))]


def test_nsga_ii_breeds_from_one_generation_to_the_next() -> None:
    algorithm = algorithm_of(AlgorithmSpec(name="optuna:NSGAIISampler", population_size=10), PROBLEM, 0)  # type: ignore[call-arg]
    score = separable(PROBLEM)
    values = []
    for id in range(120):
        (proposal,) = algorithm.ask([id])  # type: ignore[misc]
        algorithm.asked(id, proposal.genes, proposal.memo)  # type: ignore[union-attr]
        values.append(score(proposal.genes))  # type: ignore[union-attr]
        algorithm.tell(id, proposal.genes, Outcome((values[-1],)))  # type: ignore[union-attr]
    assert sum(values[-30:]) < sum(values[:30])
