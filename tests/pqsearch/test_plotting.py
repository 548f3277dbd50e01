"""`pqsearch plot` and `meter --picture`: pictures of what a run has found, as files that open."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pqsearch import rooms
from pqsearch.cli import main
from pqsearch.plan import LayerPlan, Plan
from pqsearch.plots import errors, plans
from pqsearch.plots._told import Told
from pqsearch.plotting import plot
from tests.conftest import write_spec
from trainers.observing import LayerView, Side


def test_every_picture_of_a_run_is_drawn(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", str(finished_run), "--out", str(tmp_path / "pictures")]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(path.stem for path in written) == list(rooms.names("plots"))
    for path in written:
        with Image.open(path) as picture:
            assert min(picture.size) > 300
            colours = picture.convert("RGB").getcolors(1 << 24)
            assert colours is not None and len(colours) > 20, f"{path.name} is empty"


def test_some_pictures_of_some_layers_as_svg_with_words_in_it(finished_run: Path, tmp_path: Path) -> None:
    (path,) = plot(finished_run, tmp_path, only=["weights"], layers="layer1.*", format="svg")
    text = path.read_text()
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "layer1.0.conv1" in text and "layer2" not in text
    again = plot(finished_run, tmp_path / "again", only=["weights"], layers="layer1.*", format="svg")[0]
    assert len(again.read_text()) == len(text)


def test_a_plan_from_anywhere_stands_beside_the_runs_own(finished_run: Path, tmp_path: Path) -> None:
    plan = tmp_path / "mine.json"
    plan.write_text(json.dumps(Plan({}, {"linear": LayerPlan(2, 2)}).to_json()))
    (path,) = plot(finished_run, tmp_path, only=["plans"], format="svg", plans=[plan])
    assert "mine" in path.read_text() and "searched" in path.read_text()


def test_a_picture_with_nothing_to_draw_is_said_with_the_reason(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    for steps in run.glob("checkpoints/*/steps.json"):
        steps.write_text(json.dumps(json.loads(steps.read_text())[:1]))
    assert main(["plot", str(run), "--only", "steps"]) == 0
    said = capsys.readouterr()
    assert said.out == "" and said.err == "steps: nothing to draw: no steps were trained in this run's full fine-tune\n"
    assert not (run / "plots").exists()


def test_rates_are_shown_where_something_is_pruned_only() -> None:
    groups = {"conv1": "conv1", "linear": None}
    plain, pruned = Plan({}, {"linear": LayerPlan(2, 2)}), Plan({"conv1": 0.5}, {})
    for told, rows in (
        (Told("a", plans={"plain": plain}, groups=groups), 2),
        (Told("b", plans={"x": pruned}, groups=groups), 3),
    ):
        figure = plans.draw(told)
        assert figure is not None and len(figure.axes) == rows
        assert all(axes.get_ylim()[0] == 0 for axes in figure.axes)


@pytest.mark.parametrize(("low", "words"), [(-128, "weights: on their grids already"), (None, "weights: float")])
def test_weights_that_lose_nothing_are_said_to_and_not_drawn(low: int | None, words: str) -> None:
    def side(low: int | None, **lost: float) -> Side:
        return Side(8, np.zeros(1), np.zeros(2), np.zeros((1, 2)), 0.0, low, low and 127, **lost)

    figure = errors.draw(Told("a", layers=[LayerView("conv1", side(low), side(-128, sqnr=30.0, error=1e-3))]))
    assert figure is not None
    assert figure.axes[0].get_legend_handles_labels()[1] == [words, "inputs"]


def test_a_run_keeps_its_steps_from_epoch_to_epoch(finished_run: Path) -> None:
    plan = json.loads((finished_run / "plan.json").read_text())
    folder = finished_run / "checkpoints" / f"plan-{Plan.from_json(plan).hash}"
    steps = json.loads((folder / "steps.json").read_text())
    assert len(steps) == 1 + 2 and all(one.keys() == steps[0].keys() for one in steps)
    quantised = sum((row["weight_bits"] != 32) + (row["act_bits"] != 32) for row in plan["layers"].values())
    assert len(steps[0]) == quantised and steps[0] != steps[-1]


def test_the_report_shows_what_the_layers_hold(finished_run: Path) -> None:
    values = json.loads((finished_run / "layer_values.json").read_text())
    plan = json.loads((finished_run / "plan.json").read_text())
    assert [row["layer"] for row in values["layers"]] == list(plan["layers"])
    for row in values["layers"]:
        for side, bits in (("weight", "weight_bits"), ("act", "act_bits")):
            assert row[side]["bits"] == plan["layers"][row["layer"]][bits]
    assert len(values["steps"]) == 1 + 2
    page = (finished_run / "report.html").read_text()
    for heading in ("What rounding costs, layer by layer", "Values and their grids", "Steps while training"):
        assert f"<h2>{heading}</h2>" in page


def test_plans_are_told_apart_by_as_much_of_their_paths_as_it_takes(finished_run: Path, tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        for name in ("plan.json", "searched.json"):
            (tmp_path / place / name).write_text(json.dumps(Plan({}, {"linear": LayerPlan(2, 2)}).to_json()))
    (tmp_path / "two" / "searched.json").rename(tmp_path / "searched")
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    (path,) = plot(finished_run, tmp_path, only=["plans"], format="svg", plans=[*files, *files])
    text = path.read_text()
    names = ("searched", "one/plan.json", "two/plan.json", "searched.json", f"{tmp_path.name}/searched")
    assert all(text.count(f"<!-- {name} -->") == 1 for name in names)


def test_a_plan_of_another_network_is_not_drawn(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(Plan({}, {"elsewhere": LayerPlan(4, 4)}).to_json()))
    assert main(["plot", str(finished_run), "--out", str(tmp_path / "out"), "--plan", str(other)]) == 2
    assert capsys.readouterr().err == f"{other}: is of another network: this one has no layer elsewhere\n"
    assert not (tmp_path / "out").exists()


MISTAKES = {
    "no images": (["--images", "0"], "--images 0: must be at least 1"),
    "fewer": (["--images", "-3"], "--images -3: must be at least 1"),
    "picture": (["--only", "wights"], "--only wights: unknown name 'wights', did you mean 'weights'"),
    "format": (["--format", "pdf"], "--format pdf: choose from png, svg"),
    "layers": (["--layers", "none.*"], "--layers none.*: matches none of the network's layers"),
    "plan": (["--plan", "nowhere.json"], "nowhere.json"),
}


@pytest.mark.parametrize(("arguments", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line(
    arguments: list[str], words: str, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", str(finished_run), "--out", str(tmp_path), *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said and len(said.strip().splitlines()) == 1


def test_a_folder_without_a_run_and_one_that_cannot_be_written_are_told(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", str(tmp_path)]) == 2
    (tmp_path / "file").write_text("")
    assert main(["plot", str(finished_run), "--out", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["layers.png", "layers.svg"])
def test_what_layers_cost_is_a_picture_too(name: str, finished_run: Path, tmp_path: Path) -> None:
    assert main(["meter", str(finished_run), "--picture", str(tmp_path / name)]) == 0
    assert (tmp_path / name).stat().st_size > 5000


def test_a_picture_of_another_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["meter", str(write_spec(tmp_path)), "--picture", "layers.gif"]) == 2
    assert capsys.readouterr().err == "--picture layers.gif: must end in .png or .svg\n"
