"""The smallest plan that loses little enough: found, continued after a crash, and said when there is none."""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import pqsearch
from pqsearch import rooms
from pqsearch.algorithms._integer_program import damage, least_damage
from pqsearch.cli import main
from pqsearch.journal.file import Journal, read_events
from pqsearch.local import run_locally
from pqsearch.open_study import settings, target_of
from pqsearch.plan import Accuracy, Item, Result
from pqsearch.prepare import Prepared, prepare
from pqsearch.problem import Prior
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec, parse_spec
from pqsearch.spec_search import AlgorithmSpec
from pqsearch.study import Study, read_study
from pqsearch.target import Target
from pqsearch.target_words import target_sentence, target_short
from tests.conftest import small_spec, write_spec
from tests.pqsearch.problems import LISTS
from tests.pqsearch.test_study import Clock

IMAGES = 4000
BASELINE = 0.95


def _spec(
    max_drop: float = 2.0, evaluations: int = 60, algorithm: str = "surrogate_exchange", **changes: object
) -> Spec:
    values = small_spec(
        study__evaluations=evaluations,
        study__objectives=["accuracy"],
        target={"max_drop": max_drop, "minimize": "size_bytes"},
        sensitivity={"source": "none"},
        algorithm={"name": algorithm},
        rungs=[{"kind": "calibrate", "images": 64}],
        **changes,
    )
    del values["budgets"]
    return parse_spec(values)


@functools.cache
def _prepared() -> Prepared:
    return prepare(_spec())


def _target(spec: Spec) -> Target:
    found = target_of(spec, _prepared().info)
    assert found is not None
    return found


def _study(path: Path, spec: Spec) -> tuple[Study, Journal]:
    target, clock = _target(spec), Clock()
    journal, events, _ = Journal.open(path, clock)
    space = target.start
    study = Study(
        space, lambda prior: target.algorithm(prior, target.high), journal, settings(spec),
        clock, events=events, seeds=target.seeds() + target.ladder(None), target=target,
    )  # fmt: skip
    return study, journal


def _harm(scale: float) -> Prior:
    """What each level really costs in accuracy: convex, another amount for every knob."""
    space = _target(_spec()).start
    worth = np.random.default_rng(0).random(len(space.levels))
    worth *= scale / worth.sum()
    return [
        [float(mine * ((count - 1 - level) / max(1, count - 1)) ** 2) for level in range(count)]
        for mine, count in zip(worth, space.levels, strict=True)
    ]


def _evaluator(scale: float = 0.5, floor: float = 0.0) -> Callable[[Item], Result]:
    """Plans lose what their levels cost and `floor` more, on images that are the same for all."""
    space, harm = _target(_spec()).start, _harm(scale)

    def evaluate(item: Item) -> Result:
        lost = round(IMAGES * (floor + float(damage(harm, np.array([space.encode(item.plan)]))[0])))
        accuracy = BASELINE - lost / IMAGES
        return Result(
            item.id,
            item.rung,
            item.repeat,
            Accuracy(accuracy, IMAGES),
            1 - accuracy,
            {"score": 1.0},
            lost=lost + 20,
            gained=20,
        )

    return evaluate


def test_an_algorithm_that_has_nothing_more_under_one_limit_goes_on_under_the_next(tmp_path: Path) -> None:
    study, _ = _study(tmp_path / "j", _spec(evaluations=40, algorithm="sensitivity_ilp"))
    run_locally(study, _evaluator())
    assert len(study.state.moves) > 2
    assert study.state.target()["state"] == "held"  # type: ignore[index]


def test_the_smallest_plan_that_surely_holds_the_drop_is_found(tmp_path: Path) -> None:
    spec = _spec(evaluations=80)
    study, _ = _study(tmp_path / "j", spec)
    run_locally(study, _evaluator())
    found = study.state.target()
    assert found is not None
    assert found["state"] == "held"
    assert found["drop"]["high"] <= 2.0
    # What could be had by whoever knows the harm of every level, with the same room for the interval.
    target, harm = _target(spec), _harm(0.5)
    allowed = found["drop"]["value"] / 100
    limits = np.geomspace(target.low, target.high, 200)
    possible = next(
        limit for limit in limits if float(damage(harm, least_damage(target.at(float(limit)), harm)[:1])[0]) <= allowed
    )
    assert found["cost"] <= 1.2 * possible
    assert found["cost"] < 0.5 * target.high
    best = study.best()
    assert best is not None and best["id"] == found["id"]


def test_the_budget_moves_as_results_arrive_and_plans_lie_under_it(tmp_path: Path) -> None:
    study, _ = _study(tmp_path / "j", _spec())
    run_locally(study, _evaluator())
    events = read_events(tmp_path / "j")
    assert len(study.state.moves) >= 3
    limit = np.inf
    for event in events:
        if event["type"] == "moved":
            limit = event["limit"]
        elif event["type"] == "asked":
            assert event["costs"]["size_bytes"] <= limit
    assert sum(event["type"] == "asked" and event["memo"].get("role") == "solved" for event in events) >= 2


@pytest.mark.parametrize("name", rooms.names("algorithms"))
def test_every_algorithm_searches_under_a_budget_that_moves(name: str, tmp_path: Path) -> None:
    spec = _spec(evaluations=26)
    spec = spec.model_copy(update={"algorithm": AlgorithmSpec(name=name)})
    study, _ = _study(tmp_path / "j", spec)
    run_locally(study, _evaluator())
    state = study.state
    assert state.finished and state.evaluations <= 26
    found = state.target()
    assert found is not None and found["id"] is not None
    limit, by_the_algorithm = np.inf, 0
    for event in read_events(tmp_path / "j"):
        if event["type"] == "moved":
            limit = event["limit"]
        elif event["type"] == "asked":
            assert event["costs"]["size_bytes"] <= limit
            by_the_algorithm += "role" not in event["memo"]
    assert limit < _target(spec).high or name in LISTS
    assert by_the_algorithm > 0


def test_cut_off_anywhere_and_continued_it_goes_on_as_it_would_have(tmp_path: Path) -> None:
    spec = _spec(evaluations=36)
    study, _ = _study(tmp_path / "whole", spec)
    run_locally(study, _evaluator())
    whole = (tmp_path / "whole").read_text().splitlines(keepends=True)

    def facts(path: Path) -> list[tuple[str, ...]]:
        keys = ("type", "id", "genes", "repeat", "limit", "lost", "ids")
        return [tuple(str(event.get(key)) for key in keys) for event in read_events(path) if event["type"] != "opened"]

    rng = np.random.default_rng(0)
    for number, cut in enumerate(sorted(rng.choice(np.arange(2, len(whole)), 6, replace=False).tolist())):
        path = tmp_path / f"cut-{number}"
        path.write_text("".join(whole[:cut]))
        again, _ = _study(path, spec)
        run_locally(again, _evaluator())
        assert facts(path) == facts(tmp_path / "whole")


def test_a_drop_that_no_plan_holds_is_said_and_ends_the_search(tmp_path: Path) -> None:
    study, _ = _study(tmp_path / "j", _spec())
    run_locally(study, _evaluator(floor=0.2))
    state = study.state
    assert state.stopped == "target infeasible"
    assert state.evaluations < 60
    found = state.target()
    assert found is not None and found["state"] == "infeasible"
    assert "infeasible, every plan surely loses more" in target_sentence(found)


def test_a_drop_that_the_images_cannot_settle_is_undecided(tmp_path: Path) -> None:
    study, _ = _study(tmp_path / "j", _spec(max_drop=0.2, evaluations=30))
    run_locally(study, _evaluator(floor=0.001))
    found = study.state.target()
    assert found is not None and found["state"] == "undecided"
    assert found["drop"]["value"] <= 0.2 < found["drop"]["high"]
    assert "larger data.score_images can decide it" in target_sentence(found)


def test_the_search_ends_early_once_nothing_smaller_can_hold(tmp_path: Path) -> None:
    study, _ = _study(tmp_path / "j", _spec(max_drop=60, evaluations=200))
    run_locally(study, _evaluator())
    # Every plan holds so large a drop: the cheapest of all is found and there is nothing below.
    assert study.state.stopped == "target settled"
    assert study.state.evaluations < 100
    found = study.state.target()
    assert found is not None
    assert found["cost"] <= 1.03 * _target(_spec()).low


def test_before_there_is_anything_the_words_are_few() -> None:
    empty = {"max_drop": 1.0, "minimize": "flops", "state": "undecided", "id": None, "cost": None, "drop": None}
    assert target_short(empty) == "target undecided"
    assert "no plan has been compared" in target_sentence(empty)


@pytest.mark.release
@pytest.mark.usefixtures("warm_ray")
def test_a_run_with_a_target_goes_all_the_way_and_says_what_came_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write_spec(
        tmp_path,
        study__evaluations=24,
        finetune__compare=False,
        finetune__epochs=1,
        target={"max_drop": 12.0, "minimize": "size_bytes"},
        algorithm={"name": "surrogate_exchange"},
        budgets={"act_bits": 6.0},
    )
    assert tomllib.loads(spec.read_text())["target"]["max_drop"] == 12.0
    assert main(["check", str(spec)]) == 0
    assert "target   the least size_bytes that loses at most 12 points; plans reach" in capsys.readouterr().out
    assert main(["run", str(spec)]) == 0
    run = RunDirectory(tmp_path / "run")
    state = read_study(run.journal)
    found = state.target()
    assert found is not None and found["state"] in ("held", "undecided")
    summary = json.loads(run.summary.read_text())
    assert summary["target"] == found
    assert summary["verdict"].startswith("Asked for the least size_bytes that loses at most 12 points: ")
    plan = json.loads(run.plan.read_text())
    assert plan["costs"]["size_bytes"] == found["cost"]
    assert plan["costs"]["act_bits"] <= 6.0
    page = run.report.read_text()
    assert "the least size_bytes at a drop ≤ 12 points" in page
    # The run's plans foretell another budget like those of any search.
    resolved = pqsearch.resolve(run.path, {"size_bytes": 1.5 * found["cost"]})
    assert resolved["costs"]["size_bytes"] <= 1.5 * found["cost"]
    assert resolved["measured"]["costs"] == resolved["costs"]
    reported = [row for row in state.candidates() if row["state"] == "done"]
    assert all(entry["lost"] >= 0 for row in reported for entry in row["measurements"])
