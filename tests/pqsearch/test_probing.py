"""What is found out before the algorithm begins: the probes, their prior, and the study around them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from pqsearch import rooms
from pqsearch.algorithms._integer_program import least_damage
from pqsearch.journal.file import Journal, read_events
from pqsearch.local import run_locally
from pqsearch.plan import Accuracy, Change, Item, Result
from pqsearch.probing import Probe, Probing
from pqsearch.problem import Prior, Proposal, Wait
from pqsearch.settings import Settings
from pqsearch.study import Study, read_study
from tests.pqsearch.problems import Knapsack, separable

PROBLEM = Knapsack([3, 1, 4, 2, 3, 4, 3, 4])
PROBES = [
    Probe(knob, level, Change("weight_bits", f"layer{knob}", 2 + level))
    for knob, levels in enumerate(PROBLEM.levels)
    for level in range(levels - 1)
]
SCORE = separable(PROBLEM)
SEEDS = [Proposal((0,) * 8, {"role": "uniform"}, exact=True)]


def _open(
    path: Path, source: Literal["gradients", "table"] = "table", evaluations: int = 10, **settings: Any
) -> tuple[Study, Journal, list[Prior | None]]:
    journal, events, _ = Journal.open(path, lambda: 0.0)
    priors: list[Prior | None] = []

    def make(prior: Prior | None) -> Any:
        priors.append(prior)
        return rooms.load("algorithms", "genetic")(PROBLEM, 0, population=4)

    study = Study(
        PROBLEM, make, journal, Settings(evaluations, **settings), lambda: 0.0,
        events=events, seeds=SEEDS, probing=Probing(source, PROBLEM.levels, PROBES),
        informed_seeds=lambda prior: [
            Proposal(tuple(map(int, least_damage(PROBLEM, prior)[0])), {"role": "sensitivity_ilp"})
        ],
    )  # fmt: skip
    return study, journal, priors


def _evaluate(item: Item) -> Result:
    if item.kind == "gradients":
        expected = tuple(float(change.value) for change in item.changes)
        return Result(item.id, 0, 0, None, None, {"gradients": 1.0}, expected=expected)
    loss = SCORE(PROBLEM.encode(item.plan))
    return Result(item.id, item.rung, item.repeat, Accuracy(1 - loss, 100), loss, {"score": 1.0})


def _facts(path: Path) -> list[tuple[Any, ...]]:
    return [
        (event["type"], event.get("id"), event.get("genes"), event.get("loss"))
        for event in read_events(path)
        if event["type"] != "opened"
    ]


def test_a_table_probes_every_level_of_every_knob_alone_after_the_dearest_plan(tmp_path: Path) -> None:
    study, _, _ = _open(tmp_path / "j")
    seen: list[Item] = []
    run_locally(study, lambda item: (seen.append(item), _evaluate(item))[1])
    probes = [item for item in seen if item.kind == "probe"]
    genes = [PROBLEM.encode(item.plan) for item in probes]
    top = tuple(levels - 1 for levels in PROBLEM.levels)
    assert genes[0] == top
    assert len(genes) == 1 + len(PROBES)
    assert all(sum(a != b for a, b in zip(one, top, strict=True)) == 1 for one in genes[1:])
    assert len(set(genes)) == len(genes)


def test_the_prior_is_the_rise_of_the_loss_by_knob_and_level(tmp_path: Path) -> None:
    study, _, priors = _open(tmp_path / "j")
    run_locally(study, _evaluate)
    top = [levels - 1 for levels in PROBLEM.levels]
    assert priors[0] is None
    assert priors[-1] is not None
    for probe in PROBES:
        genes = list(top)
        genes[probe.knob] = probe.level
        assert priors[-1][probe.knob][probe.level] == pytest.approx(SCORE(tuple(genes)) - SCORE(tuple(top)))
    assert [row[-1] for row in priors[-1]] == [0.0] * len(PROBLEM.levels)


def test_gradients_are_one_item_and_give_a_prior_too(tmp_path: Path) -> None:
    study, _, priors = _open(tmp_path / "j", "gradients")
    seen: list[Item] = []
    run_locally(study, lambda item: (seen.append(item), _evaluate(item))[1])
    (first,) = [item for item in seen if item.kind == "gradients"]
    assert [change.name for change in first.changes][:3] == ["layer0", "layer0", "layer2"]
    # Dearer levels of the made-up answers cost more, so every cheaper one is raised to them.
    assert priors[-1] is not None
    assert priors[-1][:4] == [[3.0, 3.0, 0.0], [0.0], [4.0, 4.0, 4.0, 0.0], [2.0, 0.0]]


def test_seeds_are_evaluated_while_probes_are_out_and_the_algorithm_waits(tmp_path: Path) -> None:
    study, _, _ = _open(tmp_path / "j", "gradients")
    for seat in "abc":
        study.join(seat, seat, {})
    (gradients,), (seed,) = study.ask("a"), study.ask("b")  # type: ignore[misc]
    assert (gradients.kind, seed.kind) == ("gradients", "candidate")
    assert isinstance(study.ask("c"), Wait)
    study.report("a", [_evaluate(gradients)])
    (planned,) = study.ask("c")  # type: ignore[misc]
    assert study.state.by_id[planned.id].role == "sensitivity_ilp"


def test_a_study_killed_at_any_event_probes_nothing_twice_and_ends_alike(tmp_path: Path) -> None:
    study, journal, _ = _open(tmp_path / "whole")
    run_locally(study, _evaluate)
    journal.close()
    whole = _facts(tmp_path / "whole")
    lines = (tmp_path / "whole").read_text().splitlines(keepends=True)
    for cut in range(1, len(lines), 3):
        path = tmp_path / f"cut-{cut}"
        path.write_text("".join(lines[:cut]))
        study, journal, _ = _open(path)
        run_locally(study, _evaluate)
        journal.close()
        assert _facts(path) == whole


@pytest.mark.parametrize("source", ["table", "gradients"])
def test_a_search_goes_on_without_a_prior_when_nothing_could_be_found_out(
    tmp_path: Path, source: Literal["gradients", "table"]
) -> None:
    study, _, priors = _open(tmp_path / "j", source)

    def evaluate(item: Item) -> Result:
        if item.id < 0:
            return Result(item.id, 0, 0, None, None, {}, failure="diverged")
        return _evaluate(item)

    run_locally(study, evaluate)
    assert priors == [None]
    assert study.state.evaluations == 10
    assert study.state.best("sensitivity_ilp") is None


def test_a_probe_that_failed_counts_as_the_worst_and_is_left_out_of_the_table(tmp_path: Path) -> None:
    study, _, priors = _open(tmp_path / "j")
    run_locally(
        study,
        lambda item: Result(-2, 0, 0, None, None, {}, failure="diverged") if item.id == -2 else _evaluate(item),
    )
    assert study.state.probing is not None
    assert len(study.state.probing.table()) == len(PROBES) - 1
    assert priors[-1] is not None
    assert priors[-1][0][0] == max(max(row) for row in priors[-1])


def test_progress_says_that_it_probes_and_counts_the_table(tmp_path: Path) -> None:
    study, _, _ = _open(tmp_path / "j", evaluations=20)
    run_locally(study, _evaluate, most=3)
    progress = study.progress()
    assert progress["phase"] == "probing"
    assert (progress["done"], progress["total"]) == (3, 20 + 1 + len(PROBES))


def _retested(path: Path, retest: int) -> list[int]:
    study, journal, _ = _open(path, evaluations=10, retest=retest)
    run_locally(study, _evaluate)
    journal.close()
    return [row["id"] for row in read_study(path).candidates() if len(row["repeats"]) > 1]


def test_plans_over_the_whole_range_of_scores_are_measured_once_more(tmp_path: Path) -> None:
    found = _retested(tmp_path / "j", 4)
    state = read_study(tmp_path / "j")
    scores = sorted(state.score(row["id"]) for row in state.candidates() if row["state"] == "done")
    assert len(found) == 4
    assert {min(scores), max(scores)} <= {state.score(id) for id in found}


def test_a_finished_study_measures_more_plans_again_when_asked_to(tmp_path: Path) -> None:
    assert _retested(tmp_path / "j", 0) == []
    assert len(_retested(tmp_path / "j", 3)) == 3
    assert read_study(tmp_path / "j").evaluations == 10


def test_plans_measured_again_out_of_turn_do_not_lead(tmp_path: Path) -> None:
    _retested(tmp_path / "j", 4)
    leaders: Callable[[dict[str, Any]], float] = lambda row: row["values"][0]  # noqa: E731
    rows = read_study(tmp_path / "j").leading(10)
    assert rows == sorted(rows, key=leaders)
