"""Plans of a user's own: evaluated first, at the nearest levels, under the budgets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pqsearch.cli import main
from pqsearch.errors import UserError
from pqsearch.plan import LayerPlan, Plan
from pqsearch.plan_file import given_plans, read_recipe
from pqsearch.prepare import prepare
from pqsearch.spec import parse_spec
from pqsearch.study import read_study
from search_spaces.space import Space
from tests.conftest import small_spec, write_spec


@pytest.fixture(scope="module")
def space() -> Space:
    return prepare(parse_spec(small_spec())).space


def _written(path: Path, plan: Any) -> str:
    path.write_text(json.dumps(plan.to_json() if isinstance(plan, Plan) else plan))
    return str(path)


def test_a_plan_under_the_budgets_is_taken_as_it_is(space: Space, tmp_path: Path) -> None:
    cheapest = space.decode(tuple([0] * len(space.levels)))
    (proposal,) = given_plans([_written(tmp_path / "a.json", cheapest)], space)
    assert proposal.exact
    assert space.decode(proposal.genes) == cheapest


def test_a_plan_over_a_budget_is_left_to_repair(space: Space, tmp_path: Path) -> None:
    dearest = space.decode(tuple(count - 1 for count in space.levels))
    (proposal,) = given_plans([_written(tmp_path / "a.json", dearest)], space)
    assert not proposal.exact


def test_values_between_levels_go_to_the_nearest(space: Space, tmp_path: Path) -> None:
    names = {knob.name for knob in space.knobs if knob.kind == "weight_bits" and len(knob.values) > 1}
    plan = Plan(layers={name: LayerPlan(7, 8) for name in names})
    (proposal,) = given_plans([_written(tmp_path / "a.json", plan)], space)
    assert {space.decode(proposal.genes).layer(name).weight_bits for name in names} == {8}


def test_everything_wrong_with_any_of_the_files_is_said_at_once(space: Space, tmp_path: Path) -> None:
    foreign = Plan(layers={"nowhere": LayerPlan(4, 4)})
    paths = [str(tmp_path / "none.json"), _written(tmp_path / "b.json", foreign), _written(tmp_path / "c.json", [])]
    with pytest.raises(UserError) as caught:
        given_plans(paths, space)
    first, second, third = caught.value.problems
    assert first.startswith(f"study.plans[0]: {paths[0]}: cannot be read")
    assert second.startswith("study.plans[1]: plan.layers.nowhere: the model has no such layer")
    assert third.startswith("study.plans[2]: plan: must be a JSON object")


@pytest.mark.long
@pytest.mark.usefixtures("warm_ray")
def test_a_search_begins_with_them(tmp_path: Path) -> None:
    space = prepare(parse_spec(small_spec())).space
    mine = space.decode(tuple([0] * len(space.levels)))
    file = _written(tmp_path / "mine.json", mine)
    spec = write_spec(tmp_path, study__plans=[file], study__evaluations=2, study__confirm=0, algorithm__population=2)
    assert main(["search", str(spec)]) == 0
    first = read_study(tmp_path / "run" / "journal.jsonl").row(0)
    assert first["role"] == "given"
    assert first["plan"] == mine.to_json()
    # Other plans make another search.
    _written(tmp_path / "mine.json", space.decode(tuple(count - 1 for count in space.levels)))
    assert main(["search", str(spec), "--set", "study.evaluations=3"]) == 2


def test_a_recipe_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("{")
    with pytest.raises(UserError, match="is not a plan file"):
        read_recipe(path)
